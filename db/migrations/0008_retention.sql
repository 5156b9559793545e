-- Retention (docs/decisions/0014-retention.md). What is to be trimmed is known by looking it up, never by looking through
-- what is to be kept:
--   closed_tree     trees that have ended, by when: a look at the oldest of each tenant that has a retention by age
--   retention_due   streams that have passed stream.trim_at, which is where they hold more than they are to keep
--   memory_space    by expiry_ms, before which nothing in it is too old
--   retention_walk  tenants whose default has changed: their trees are noted as due, some at a time
--   stream_floor    where deleted_to < floor_offset there are rows to delete
-- A trim raises the floor, which is committed, and from then on nobody is shown what lies below; the rows are deleted later,
-- some at a time. Who dies in between leaves rows below a floor, which any later sweep finds.
--
-- All of it is done by functions and triggers here, so that servers of the previous release, which know nothing of it, go on
-- writing what a sweep needs. What was there before is looked through by the walks that the end of this file begins.
CREATE TABLE "closed_tree" (
	"stream_id" uuid PRIMARY KEY NOT NULL,
	"tenant_slug" text NOT NULL,
	"closed_ms" bigint NOT NULL,
	"max_age_ms" bigint
);
--> statement-breakpoint
CREATE TABLE "database_identity" (
	"only" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"system_identifier" text NOT NULL,
	"database_oid" bigint NOT NULL,
	"timeline" integer NOT NULL,
	"noted_ms" bigint DEFAULT (extract(epoch from clock_timestamp()) * 1000)::bigint NOT NULL,
	CONSTRAINT "database_identity_one_row" CHECK ("database_identity"."only")
);
--> statement-breakpoint
CREATE TABLE "retention_due" (
	"stream_id" uuid PRIMARY KEY NOT NULL,
	"noted_ms" bigint DEFAULT (extract(epoch from clock_timestamp()) * 1000)::bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "retention_walk" (
	"tenant_slug" text PRIMARY KEY NOT NULL,
	"created_ms" bigint DEFAULT 0 NOT NULL,
	"workflow_id" uuid DEFAULT '00000000-0000-0000-0000-000000000000' NOT NULL
);
--> statement-breakpoint
ALTER TABLE "memory_space" ADD COLUMN "expiry_ms" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "stream" ADD COLUMN "trim_at" bigint;--> statement-breakpoint
ALTER TABLE "stream_floor" ADD COLUMN "deleted_to" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "retention_walk" ADD CONSTRAINT "retention_walk_tenant_slug_tenant_slug_fk" FOREIGN KEY ("tenant_slug") REFERENCES "public"."tenant"("slug") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "closed_tree_by_default" ON "closed_tree" USING btree ("tenant_slug","closed_ms") WHERE max_age_ms is null;--> statement-breakpoint
CREATE INDEX "closed_tree_by_own_age" ON "closed_tree" USING btree ((closed_ms + max_age_ms)) WHERE max_age_ms is not null;--> statement-breakpoint
CREATE INDEX "memory_space_by_expiry" ON "memory_space" USING btree ("expiry_ms") WHERE retention_max_age_ms > 0;--> statement-breakpoint
CREATE INDEX "retention_due_by_time" ON "retention_due" USING btree ("noted_ms");--> statement-breakpoint
CREATE INDEX "session_by_stream" ON "session" USING btree ("stream_id");--> statement-breakpoint
CREATE INDEX "stream_floor_undeleted" ON "stream_floor" USING btree ("stream_id") WHERE deleted_to < floor_offset;
--> statement-breakpoint

create function retention_now() returns bigint language sql volatile as $$
  select (extract(epoch from clock_timestamp()) * 1000)::bigint
$$;
--> statement-breakpoint

-- The streams that the appender moves past their limit. The condition is all that it costs the others.
create function stream_note_due() returns trigger language plpgsql as $$
begin
  insert into retention_due (stream_id) values (new.stream_id) on conflict do nothing;
  return null;
end $$;
--> statement-breakpoint
create trigger stream_passed_limit after update of next_offset on stream for each row
  when (new.next_offset > new.trim_at + 1 and old.next_offset <= old.trim_at + 1)
  execute function stream_note_due();
--> statement-breakpoint

-- A new root takes its limit, or its tenant's. The advisory lock is shared with whoever changes the tenant's: so either this
-- reads the new one, or the walk that the change begins finds this root.
create function workflow_take_limit() returns trigger language plpgsql as $$
declare
  v_keep bigint := new.retention_max_events;
begin
  if v_keep is null then
    perform pg_advisory_xact_lock_shared(hashtextextended('retention of ' || new.tenant_slug, 0));
    select retention_events into v_keep from tenant where slug = new.tenant_slug;
  end if;
  if v_keep > 0 then
    update stream set trim_at = v_keep where stream_id = new.stream_id;
  end if;
  return null;
end $$;
--> statement-breakpoint
create trigger workflow_root_created after insert on workflow for each row
  when (new.parent_workflow_id is null and new.retention_max_events is distinct from 0)
  execute function workflow_take_limit();
--> statement-breakpoint

create function stream_forget() returns trigger language plpgsql as $$
begin
  delete from retention_due where stream_id = old.stream_id;
  delete from closed_tree where stream_id = old.stream_id;
  return null;
end $$;
--> statement-breakpoint
create trigger stream_deleted after delete on stream for each row execute function stream_forget();
--> statement-breakpoint

create function workflow_note_tree_end() returns trigger language plpgsql as $$
begin
  insert into closed_tree (stream_id, tenant_slug, closed_ms, max_age_ms)
  values (new.stream_id, new.tenant_slug, retention_now(), new.retention_max_age_ms) on conflict do nothing;
  return null;
end $$;
--> statement-breakpoint
create trigger workflow_tree_ended after update of open_in_subtree on workflow for each row
  when (new.open_in_subtree = 0 and old.open_in_subtree > 0 and new.parent_workflow_id is null
        and new.retention_max_age_ms is distinct from 0)
  execute function workflow_note_tree_end();
--> statement-breakpoint

-- Ages are read when a sweep looks; a limit is known to each stream, so a new one must come to all of them.
create function tenant_note_limit() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('retention of ' || new.slug, 0));
  insert into retention_walk (tenant_slug) values (new.slug)
  on conflict (tenant_slug) do update set (created_ms, workflow_id) = row (default, default);
  return new;
end $$;
--> statement-breakpoint
create trigger tenant_limit_changed before update of retention_events on tenant for each row
  when (old.retention_events <> new.retention_events) execute function tenant_note_limit();
--> statement-breakpoint

-- "do update": the row is locked until this is committed, so that no sweep takes it and reads the old limit.
create function memory_space_note_retention() returns trigger language plpgsql as $$
begin
  new.expiry_ms := 0;
  insert into retention_due (stream_id) values (new.stream_id)
  on conflict (stream_id) do update set noted_ms = excluded.noted_ms;
  return new;
end $$;
--> statement-breakpoint
create trigger memory_space_made before insert on memory_space for each row
  when (new.retention_max_observations > 0) execute function memory_space_note_retention();
--> statement-breakpoint
create trigger memory_space_retention_changed before update of retention_max_age_ms, retention_max_observations on memory_space
  for each row when ((old.retention_max_age_ms, old.retention_max_observations)
                     is distinct from (new.retention_max_age_ms, new.retention_max_observations))
  execute function memory_space_note_retention();
--> statement-breakpoint

-- One batch of retention at a time, whichever server does it. Held for one call, which is one transaction.
create function retention_try_turn() returns boolean language sql volatile as $$
  select pg_try_advisory_xact_lock(hashtextextended('retention', 0))
$$;
--> statement-breakpoint

-- Raises the floor of some streams, whose rows are locked by the caller; never lowers it. One row per tenant.
create function retention_set_floors(p_streams uuid[], p_floors bigint[])
returns table (tenant_slug text, streams int, entries bigint) language sql volatile
set enable_seqscan = off as $$
  with wanted as materialized (
    select w.stream_id, least(w.floor, s.next_offset - 1) as floor, coalesce(f.floor_offset, 0) as old_floor, s.tenant_slug
      from unnest(p_streams, p_floors) as w(stream_id, floor)
      join stream s on s.stream_id = w.stream_id
      left join stream_floor f on f.stream_id = w.stream_id
  ), raised as (
    insert into stream_floor as f (stream_id, floor_offset)
    select stream_id, floor from wanted where floor > old_floor
    on conflict (stream_id) do update set floor_offset = excluded.floor_offset where f.floor_offset < excluded.floor_offset
    returning stream_id
  )
  select tenant_slug, count(*)::int, sum(floor - old_floor)::bigint
    from wanted where stream_id in (select stream_id from raised) group by tenant_slug
$$;
--> statement-breakpoint

-- Looks at some of what is due, and raises floors. Answer: busy (somebody else is at it), more (look again at once),
-- left (some streams were locked by their writers), trimmed [{tenant, streams, entries}].
-- Streams that are locked are passed by, so that nobody waits for a batch and no two lock each other out. A stream that is
-- always locked would never be trimmed: p_patient takes one and nothing else, and waits its turn.
create function retention_raise_floors(p_limit int, p_patient boolean, p_noted_until bigint) returns jsonb language plpgsql volatile
set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
  v_now bigint := retention_now();
  v_until bigint := coalesce(p_noted_until, 9007199254740991);
  v_trimmed jsonb := '[]';
  v_ids uuid[];
  v_floors bigint[] := '{}';
  v_walk retention_walk%rowtype;
  v_seen uuid[];
  v_done int;
  -- A patient call: is it for a space?
  v_for_space boolean := p_patient and exists (
    select from memory_space where retention_max_age_ms > 0 and expiry_ms <= retention_now());
  v_more boolean := false;
  v_left boolean := false;
  v_space record;
  v_entry record;
  v_floor bigint;
  v_expiry bigint;
  v_steps int;
  c_entries constant int := 10000;
begin
  if not retention_try_turn() then
    return jsonb_build_object('busy', true, 'now', v_now, 'more', false, 'left', false, 'trimmed', v_trimmed);
  end if;

  -- Trees of a tenant whose default has changed, oldest first, up to one that is locked. Who notes a tree as due has its
  -- stream locked, here as in the appender: else each could wait for what the other has noted.
  select * into v_walk from retention_walk where not p_patient limit 1 for update skip locked;
  if found then
    v_seen := array(
      select w.workflow_id from workflow w
       where w.tenant_slug = v_walk.tenant_slug and (w.created_ms, w.workflow_id) > (v_walk.created_ms, v_walk.workflow_id)
       order by w.created_ms, w.workflow_id limit p_limit);
    v_ids := array(
      select s.stream_id from stream s
       where s.stream_id = any (array(select w.stream_id from workflow w
                                       where w.workflow_id = any (v_seen) and w.parent_workflow_id is null))
         for update skip locked);
    select coalesce(min(no) - 1, cardinality(v_seen)) into v_done
      from unnest(v_seen) with ordinality as i(id, no) join workflow w on w.workflow_id = i.id
     where w.parent_workflow_id is null and not w.stream_id = any (v_ids);
    with seen as materialized (
      select w.* from workflow w where w.workflow_id = any (v_seen[:v_done])
    ), due as (
      insert into retention_due (stream_id)
      select stream_id from seen where parent_workflow_id is null and retention_max_events is distinct from 0
      on conflict do nothing
    ), closed as (
      -- Of before there was closed_tree; what has been trimmed since is left out.
      insert into closed_tree (stream_id, tenant_slug, closed_ms, max_age_ms)
      select c.stream_id, c.tenant_slug, coalesce((select e.recorded_ms from event e
                                                       where e.stream_id = c.stream_id and e."offset" = c.subtree_final_offset), c.closed_ms),
             c.retention_max_age_ms
        from seen c join stream s using (stream_id)
       where c.parent_workflow_id is null and c.open_in_subtree = 0 and c.retention_max_age_ms is distinct from 0
         and s.next_offset - 1 > coalesce((select f.floor_offset from stream_floor f where f.stream_id = c.stream_id), 0)
      on conflict do nothing
    ), last as (
      select created_ms, workflow_id from seen order by created_ms desc, workflow_id desc limit 1
    )
    update retention_walk r set created_ms = l.created_ms, workflow_id = l.workflow_id
      from last l where r.tenant_slug = v_walk.tenant_slug;
    v_left := v_done < cardinality(v_seen);
    v_more := v_done > 0 or not v_left;
    if v_done < p_limit and not v_left then
      delete from retention_walk where tenant_slug = v_walk.tenant_slug;
    end if;
  end if;

  -- Streams over their limit, first who has waited longest: those that are soon due again come after the others. What is
  -- due is taken off first, and its limit read after that: a change that is committed before is read, one that is committed
  -- later notes it anew.
  if p_patient then
    select array_agg(stream_id) into v_ids
      from (select d.stream_id from retention_due d where not v_for_space and d.noted_ms <= v_until order by d.noted_ms limit 1) as d;
    perform from stream where stream_id = any (v_ids) for update;
    delete from retention_due where stream_id = any (v_ids);
  else
    delete from retention_due d -- of streams that were deleted
     where d.stream_id = any (array(select stream_id from retention_due where noted_ms <= v_until order by noted_ms limit p_limit))
       and not exists (select from stream s where s.stream_id = d.stream_id);
    select array_agg(stream_id) into v_ids
      from (select d.stream_id from retention_due d join stream s using (stream_id) where d.noted_ms <= v_until
             order by d.noted_ms limit p_limit for update of d, s skip locked) as d;
    delete from retention_due where stream_id = any (v_ids);
  end if;
  if v_ids is not null then
    v_more := v_more or cardinality(v_ids) >= p_limit;
    with limits as materialized (
      select s.stream_id, s.next_offset - 1 as tail,
             case s.kind
               when 1 then (select coalesce(w.retention_max_events, t.retention_events)
                              from workflow w join tenant t on t.slug = w.tenant_slug
                             where w.stream_id = s.stream_id and w.created_offset = 1)
               else (select m.retention_max_observations from memory_space m where m.stream_id = s.stream_id)
             end as keep,
             coalesce((select f.floor_offset from stream_floor f where f.stream_id = s.stream_id), 0) as floor
        from stream s where s.stream_id = any (v_ids)
    ), moved as (
      update stream s set trim_at = case when l.keep > 0 then greatest(l.floor + l.keep, l.tail) end
        from limits l
       where s.stream_id = l.stream_id
         and s.trim_at is distinct from case when l.keep > 0 then greatest(l.floor + l.keep, l.tail) end
    )
    select array_agg(stream_id), array_agg(tail - keep) into v_ids, v_floors
      from limits where keep > 0 and tail - keep > floor;
    select v_trimmed || coalesce(jsonb_agg(to_jsonb(r)), '[]') into v_trimmed
      from retention_set_floors(coalesce(v_ids, '{}'), coalesce(v_floors, '{}')) as r;
  end if;
  v_left := v_left or exists (select from retention_due where noted_ms <= v_until);

  -- Trees that ended long ago: by their own age, and by that of their tenant.
  select array_agg(stream_id) into v_ids
    from (select stream_id from closed_tree
           where closed_ms + max_age_ms <= v_now and max_age_ms is not null order by closed_ms + max_age_ms limit p_limit) as c;
  select coalesce(v_ids, '{}') || coalesce(array_agg(stream_id), '{}') into v_ids
    from (select c.stream_id
            from tenant t, lateral (
              select stream_id from closed_tree
               where tenant_slug = t.slug and max_age_ms is null and closed_ms <= v_now - t.retention_ms
               order by closed_ms limit p_limit) as c
           where t.retention_ms > 0 limit p_limit) as c;
  if cardinality(v_ids) > 0 and not p_patient then
    v_more := v_more or cardinality(v_ids) >= p_limit;
    delete from closed_tree c -- of trees that were deleted
     where c.stream_id = any (v_ids) and not exists (select from stream s where s.stream_id = c.stream_id);
    v_ids := array(select stream_id from stream where stream_id = any (v_ids) for update skip locked);
    delete from closed_tree where stream_id = any (v_ids);
    select v_trimmed || coalesce(jsonb_agg(to_jsonb(r)), '[]') into v_trimmed
      from retention_set_floors(v_ids, array(select 9007199254740991 from unnest(v_ids))) as r;
  end if;

  -- Observations that are too old. Times rise with the offsets, but for a clock that was set back: then what is kept keeps
  -- what comes after it.
  for v_space in
    select m.stream_id, m.retention_max_age_ms as max_age, coalesce(f.floor_offset, 0) as floor
      from memory_space m join stream s using (stream_id) left join stream_floor f using (stream_id)
     where m.retention_max_age_ms > 0 and m.expiry_ms <= v_now and (v_for_space or not p_patient)
     order by m.expiry_ms limit case when p_patient then 1 else p_limit end for update of m skip locked
  loop
    if p_patient then
      perform from stream where stream_id = v_space.stream_id for update;
    else
      perform from stream where stream_id = v_space.stream_id for update skip locked;
      if not found then
        v_left := true;
        continue;
      end if;
    end if;
    v_floor := v_space.floor;
    v_expiry := v_now + v_space.max_age;
    v_steps := 0;
    for v_entry in
      select "offset", recorded_ms from event
       where stream_id = v_space.stream_id and "offset" > v_space.floor order by "offset" limit c_entries
    loop
      if v_entry.recorded_ms > v_now - v_space.max_age then
        v_expiry := v_entry.recorded_ms + v_space.max_age;
        exit;
      end if;
      v_floor := v_entry."offset";
      v_steps := v_steps + 1;
    end loop;
    if v_steps = c_entries then
      v_expiry := 0;
      v_more := true;
    end if;
    -- Not if its retention was changed meanwhile: that has set the time to 0.
    update memory_space set expiry_ms = v_expiry
     where stream_id = v_space.stream_id and retention_max_age_ms = v_space.max_age;
    select v_trimmed || coalesce(jsonb_agg(to_jsonb(r)), '[]') into v_trimmed
      from retention_set_floors(array[v_space.stream_id], array[v_floor]) as r;
  end loop;

  return jsonb_build_object('busy', false, 'now', v_now, 'more', v_more, 'left', v_left, 'trimmed', v_trimmed);
end $$;
--> statement-breakpoint

-- Deletes at most p_rows entries of a stream that lie below its floor, with their observations. The answer: how many, and
-- whether that was all. Who else deletes of this stream waits; nobody who reads or writes does.
create function retention_delete_entries(p_stream uuid, p_rows int, out deleted int, out done boolean) language plpgsql volatile
set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
  v_floor bigint;
  v_from bigint;
  v_to bigint;
begin
  select floor_offset, deleted_to into v_floor, v_from from stream_floor where stream_id = p_stream for update;
  deleted := 0;
  done := true;
  if v_floor is null or v_from >= v_floor then
    return;
  end if;
  -- Offsets have no holes, but rows may be gone that were deleted before there was deleted_to.
  select min("offset") - 1 into v_from from event where stream_id = p_stream and "offset" > v_from and "offset" <= v_floor;
  v_to := least(v_floor, coalesce(v_from + p_rows, v_floor));
  delete from event where stream_id = p_stream and "offset" > v_from and "offset" <= v_to;
  get diagnostics deleted = row_count;
  delete from observation where stream_id = p_stream and "offset" > v_from and "offset" <= v_to;
  update stream_floor set deleted_to = v_to where stream_id = p_stream;
  done := v_to >= v_floor;
end $$;
--> statement-breakpoint

-- Deletes at most p_rows entries that lie below floors. Answer: busy (somebody else is at it), deleted, more.
create function retention_delete_batch(p_rows int, p_streams int) returns jsonb language plpgsql volatile
set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
  v_stream uuid;
  v_batch record;
  v_deleted int := 0;
begin
  if not retention_try_turn() then
    return '{"busy": true, "deleted": 0, "more": false}';
  end if;
  for v_stream in
    select stream_id from stream_floor where deleted_to < floor_offset limit p_streams for update skip locked
  loop
    select * into v_batch from retention_delete_entries(v_stream, p_rows - v_deleted);
    v_deleted := v_deleted + v_batch.deleted;
    exit when v_deleted >= p_rows;
  end loop;
  return jsonb_build_object('busy', false, 'deleted', v_deleted,
                            'more', exists (select from stream_floor where deleted_to < floor_offset));
end $$;
--> statement-breakpoint

-- What was there before: its limits, and its trees that have ended.
insert into retention_walk (tenant_slug) select slug from tenant;
--> statement-breakpoint
insert into retention_due (stream_id) select stream_id from memory_space where retention_max_observations > 0;
