-- Limits of tenants that are counts (docs/operations/quotas.md). A count that several instances must not pass is decided under
-- a lock that is held to the commit:
--   open_workflow_count   of tenants with max_open_workflows: one row each, in step with the sum of open_in_subtree of the
--                         tenant's roots, which a trigger passes on. Tenants without a limit have no row and pay a look-up.
--   reader_count          of tenants with max_streams: the calls of each instance, with a lease, so that who dies frees them
--   session               as before; now under a lock of the tenant, so that two who begin at once do not both get the last one
--
-- append takes these locks after those of its streams, all at once and in one order, before it decides anything: two groups
-- that touch the same tenants wait for each other and never both.
CREATE TABLE "open_workflow_count" (
	"tenant_slug" text PRIMARY KEY NOT NULL,
	"open" integer NOT NULL,
	"most" integer NOT NULL,
	CONSTRAINT "open_workflow_count_sane" CHECK ("open_workflow_count"."open" >= 0 and "open_workflow_count"."most" > 0)
);
--> statement-breakpoint
CREATE TABLE "reader_count" (
	"tenant_slug" text NOT NULL,
	"instance_id" uuid NOT NULL,
	"open" integer NOT NULL,
	"lease_expires_ms" bigint NOT NULL,
	CONSTRAINT "reader_count_pkey" PRIMARY KEY("tenant_slug","instance_id"),
	CONSTRAINT "reader_count_positive" CHECK ("reader_count"."open" >= 0)
);
--> statement-breakpoint
ALTER TABLE "open_workflow_count" ADD CONSTRAINT "open_workflow_count_tenant_slug_tenant_slug_fk" FOREIGN KEY ("tenant_slug") REFERENCES "public"."tenant"("slug") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "reader_count" ADD CONSTRAINT "reader_count_tenant_slug_tenant_slug_fk" FOREIGN KEY ("tenant_slug") REFERENCES "public"."tenant"("slug") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint

-- The locks of the counts that these ops may change. Of open workflows a shared one too: whoever gives a tenant its first
-- limit takes it alone, and so counts when nobody is between a decision and its commit.
create function append_lock_counts(p_ops jsonb) returns void language plpgsql volatile as $$
declare
  v record;
begin
  for v in
    select distinct op ->> 'op' = 'attach' as of_sessions, coalesce(op ->> 'tenant', s.tenant_slug) as tenant
      from jsonb_array_elements(p_ops) as op left join stream s on s.stream_id = (op ->> 'stream')::uuid
     where op ->> 'op' in ('create', 'close')
        or op ->> 'op' = 'attach' and not (op ->> 'resume')::boolean and (op ->> 'maxSessions')::bigint > 0
     order by 1, 2
  loop
    if v.of_sessions then
      perform pg_advisory_xact_lock(hashtextextended('sessions of ' || v.tenant, 0));
    elsif v.tenant is not null then
      perform pg_advisory_xact_lock_shared(hashtextextended('open workflows of ' || v.tenant, 0));
      perform from open_workflow_count where tenant_slug = v.tenant for update;
    end if;
  end loop;
end $$;
--> statement-breakpoint

-- Here: not beyond the tenant's limit. {"result": "too_many", "open", "most"}: nothing was written. What is there already is
-- "exists" also at the limit.
create or replace function append_create_workflow(op jsonb, p_payload bytea, p_recorded bigint) returns jsonb
language plpgsql volatile as $$
declare
  v_id uuid := op ->> 'workflow';
  v_stream uuid := op ->> 'stream';
  v_parent workflow%rowtype;
  v_offset bigint;
  v_count open_workflow_count%rowtype;
begin
  if op ->> 'parent' is not null then
    select * into v_parent from workflow where workflow_id = (op ->> 'parent')::uuid and (stream_id = v_stream) is true;
    if not found then
      return '{"result": "unknown"}';
    end if;
    if exists (select from workflow where workflow_id = v_id) then
      return '{"result": "exists"}';
    end if;
    if v_parent.status <> 1 then
      return '{"result": "parent_closed"}';
    end if;
    if v_parent.depth >= 32 then
      return '{"result": "too_deep"}';
    end if;
  end if;
  select * into v_count from open_workflow_count where tenant_slug = op ->> 'tenant';
  if v_count.open >= v_count.most and not exists (select from workflow where workflow_id = v_id) then
    return jsonb_build_object('result', 'too_many', 'open', v_count.open, 'most', v_count.most);
  end if;
  if op ->> 'parent' is null then
    insert into stream (stream_id, tenant_slug, kind) values (v_stream, op ->> 'tenant', 1)
    on conflict (stream_id) do nothing;
    if not found then -- the same command again, after a commit whose outcome was not known
      return '{"result": "exists"}';
    end if;
  end if;

  select next_offset into strict v_offset from stream where stream_id = v_stream;
  insert into workflow (workflow_id, tenant_slug, stream_id, parent_workflow_id, path, depth, name, metadata,
                        created_ms, created_offset, retention_max_age_ms, retention_max_events)
  values (v_id, op ->> 'tenant', v_stream, v_parent.workflow_id,
          coalesce(v_parent.path, '{}') || v_id, coalesce(v_parent.depth + 1, 0),
          op ->> 'name', op -> 'metadata', p_recorded, v_offset,
          (op ->> 'retentionMaxAgeMs')::bigint, (op ->> 'retentionMaxEvents')::bigint)
  on conflict (workflow_id) do nothing;
  if not found then -- another stream, or another instance, was first
    if v_parent.workflow_id is null then
      delete from stream where stream_id = v_stream;
    end if;
    return '{"result": "exists"}';
  end if;
  perform append_lifecycle_entry(v_stream, v_id, 20, p_payload, (op ->> 'start')::int, (op ->> 'size')::int, p_recorded);
  update workflow set open_in_subtree = open_in_subtree + 1 where workflow_id = any (v_parent.path);
  return jsonb_build_object('result', 'created', 'offset', v_offset);
end $$;
--> statement-breakpoint

-- Here: the locks of counts, before the ops. All else is as in 0007.
create or replace function append(
  p_streams uuid[],
  k_stream int[], k_workflow uuid[], k_task text[], k_producer text[], k_epoch bigint[],
  e_key int[], e_sequence bigint[], e_type smallint[], e_timestamp bigint[],
  e_start int[], e_size int[], e_is_text boolean[], e_chain int[],
  o_entry int[], o_id text[], o_metadata text[], o_confidence real[], o_importance real[], o_observed bigint[],
  p_ops jsonb, p_payload bytea,
  -- One per entry: 1 stored, 2 duplicate, 3 workflow closed, 4 task closed, 5 workflow unknown, 6 skipped, 7 of an older
  -- epoch, 8 passed (e_type 0), 9 observation id taken. null: all stored.
  out decisions smallint[],
  -- One per stream: offset of its first new entry, and of its last after this call.
  out first_offsets bigint[], out last_offsets bigint[],
  -- One per op.
  out op_results jsonb,
  out recorded_ms bigint
) language plpgsql volatile
-- Plans made while the tables were small must not outlive that: always by index, planned once.
set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
  v_op jsonb;
  v_recorded bigint;
  v_next bigint[];
  -- One per key: status of its workflow (of a space: 0; null: unknown), has its task ended, last number of its producer (null:
  -- none yet, or of another epoch), and the first key of the same producer (0: not numbered).
  v_status smallint[];
  v_ended boolean[];
  v_last bigint[];
  v_producer int[];
  -- One per entry.
  v_decisions smallint[];
  v_offsets bigint[];
  v_hazard boolean;
  v_refused boolean;
  v_entry int;
  v_ends constant boolean := e_type && array[9, 10, 11]::smallint[];
  c_nil constant uuid := '00000000-0000-0000-0000-000000000000';
begin
  perform 1 from stream where stream_id = any (p_streams) order by stream_id for update;

  v_recorded := (extract(epoch from clock_timestamp()) * 1000)::bigint;
  select array_agg(coalesce(s.next_offset, 1) order by p.no) into v_next
    from unnest(p_streams) with ordinality as p(stream_id, no) left join stream s using (stream_id);
  first_offsets := v_next;
  op_results := '[]';

  if cardinality(e_key) > 0 then
    select array_agg(status order by no), array_agg(ended order by no), array_agg(last_sequence order by no),
           array_agg(producer order by no)
      into v_status, v_ended, v_last, v_producer
      from (
        select k.no,
               case when k.workflow_id = c_nil
                 then (select 0::smallint from stream s where s.stream_id = p_streams[k.stream_no] and s.kind = 2)
                 else (select case when w.stream_id = p_streams[k.stream_no] then w.status end
                         from workflow w where w.workflow_id = k.workflow_id) end as status,
               (select t.terminal_type from task t
                 where t.workflow_id = k.workflow_id and t.task_execution_id = k.task) is not null as ended,
               case when k.producer_id <> '' then
                 (select case when p.epoch = k.epoch then p.last_sequence end from producer p
                   where p.stream_id = p_streams[k.stream_no] and p.producer_id = k.producer_id
                     and p.workflow_id = case when k.epoch > 0 then c_nil else k.workflow_id end) end as last_sequence,
               case when k.producer_id = '' then 0
                 else min(k.no) over (partition by case when k.epoch > 0 then c_nil else k.workflow_id end, k.producer_id)
               end as producer
          from unnest(k_stream, k_workflow, k_task, k_producer, k_epoch)
               with ordinality as k(stream_no, workflow_id, task, producer_id, epoch, no)
      ) as key;

    select coalesce(bool_or(hazard), false), bool_or(decision <> 1), array_agg(decision order by no) into v_hazard, v_refused, v_decisions
      from (
        select e.no,
               v_producer[e.key] > 0
                 and e.sequence <= lag(e.sequence) over (partition by v_producer[e.key] order by e.no) as hazard,
               case when k_epoch[e.key] > 0 and v_last[e.key] is null then 7
                    when v_producer[e.key] > 0 and e.sequence <= v_last[e.key] then 2
                    when e.type = 0 then 8
                    when v_status[e.key] = 0 and e.type = 40 then 1
                    when v_status[e.key] is null or v_status[e.key] = 0 then 5
                    when v_status[e.key] <> 1 then 3
                    when v_ended[e.key] then 4
                    else 1 end::smallint as decision
          from unnest(e_key, e_sequence, e_type) with ordinality as e(key, sequence, type, no)
      ) as judged;

    if v_ends and not v_hazard then
      select bool_or(hazard) into v_hazard
        from (select bool_or(e.type in (9, 10, 11)) over (
                       partition by k.workflow_id, k.task order by e.no rows between unbounded preceding and 1 preceding) as hazard
                from unnest(e_key, e_type) with ordinality as e(key, type, no)
                join unnest(k_workflow, k_task) with ordinality as k(workflow_id, task, no) on k.no = e.key) as pairs;
    end if;
    if v_hazard then
      raise exception 'append: entries of one group depend on one another' using errcode = 'TR001';
    end if;

    -- In a chain nothing is stored after the first refused entry.
    if v_refused and exists (select from unnest(e_chain) as chain where chain > 0) then
      select array_agg(case when decision = 1 and chain > 0 and no > first_refused then 6 else decision end order by no)
        into v_decisions
        from (select e.*, min(no) filter (where decision >= 3) over (partition by chain) as first_refused
                from unnest(v_decisions, e_chain) with ordinality as e(decision, chain, no)) as j;
    end if;

    if cardinality(o_entry) > 0 then
      if exists (
        select from unnest(o_entry, o_id) as o(no, id) group by k_stream[e_key[o.no]], o.id having count(*) > 1
      ) then
        raise exception 'append: two observations of one group have the same id' using errcode = 'TR001';
      end if;
      for v_entry in
        select o.no from unnest(o_entry, o_id) as o(no, id)
         where v_decisions[o.no] = 1
           and (select x."offset" from observation x
                 where x.stream_id = p_streams[k_stream[e_key[o.no]]] and x.observation_id = o.id) is not null
      loop
        v_decisions[v_entry] := 9;
        v_refused := true;
      end loop;
    end if;

    select array_agg(o order by no) into v_offsets
      from (select e.no, v_next[k_stream[e.key]] - 1
                   + count(*) filter (where decision = 1) over (partition by k_stream[e.key] order by e.no) as o
              from unnest(e_key, v_decisions) with ordinality as e(key, decision, no)) as numbered;

    insert into event (stream_id, "offset", workflow_id, task_execution_id, producer_id, sequence, type,
                       payload, payload_is_text, timestamp_ms, recorded_ms)
    select p_streams[k.stream_no], e.o, nullif(k.workflow_id, c_nil), k.task, k.producer_id, e.sequence, e.type,
           case when e.size >= 0 then substring(p_payload from e.start for e.size) end, e.is_text,
           e.timestamp_ms, v_recorded
      from unnest(e_key, e_sequence, e_type, e_timestamp, e_start, e_size, e_is_text, v_decisions, v_offsets)
           as e(key, sequence, type, timestamp_ms, start, size, is_text, decision, o)
      join unnest(k_stream, k_workflow, k_task, k_producer)
           with ordinality as k(stream_no, workflow_id, task, producer_id, no) on k.no = e.key
     where e.decision = 1;

    if cardinality(o_entry) > 0 then
      insert into observation (stream_id, "offset", observation_id, session_id, metadata, confidence, importance,
                               observed_ms, search)
      select p_streams[k.stream_no], v_offsets[o.no], o.id, k.producer_id::uuid, o.metadata::jsonb, o.confidence,
             o.importance, o.observed_ms,
             observation_search(p_streams[k.stream_no], substring(p_payload from e_start[o.no] for e_size[o.no]))
        from unnest(o_entry, o_id, o_metadata, o_confidence, o_importance, o_observed)
             as o(no, id, metadata, confidence, importance, observed_ms)
        join unnest(k_stream, k_producer) with ordinality as k(stream_no, producer_id, no) on k.no = e_key[o.no]
       where v_decisions[o.no] = 1;
    end if;

    if exists (select from unnest(v_producer, k_epoch) as k(producer, epoch) where producer > 0 and epoch = 0) then
      insert into producer as p (stream_id, workflow_id, producer_id, last_sequence)
      select p_streams[k.stream_no], k.workflow_id, k.producer_id, max(e.sequence)
        from unnest(e_key, e_sequence, v_decisions) as e(key, sequence, decision)
        join unnest(k_stream, k_workflow, k_producer, k_epoch) with ordinality as k(stream_no, workflow_id, producer_id, epoch, no)
          on k.no = e.key
       where e.decision = 1 and k.producer_id <> '' and k.epoch = 0
       group by 1, 2, 3
      on conflict (stream_id, workflow_id, producer_id) do update set last_sequence = excluded.last_sequence;
    end if;

    -- The sequences of sessions move past all that was decided.
    if exists (select from unnest(k_epoch) as epoch where epoch > 0) then
      with reached as (
        select p_streams[k.stream_no] as stream_id, k.producer_id, min(e.sequence) as first_sequence,
               max(e.sequence) as last_sequence, count(*) as entries, max(e.o) filter (where decision = 1) as last_offset
          from unnest(e_key, e_sequence, v_decisions, v_offsets) as e(key, sequence, decision, o)
          join unnest(k_stream, k_producer, k_epoch) with ordinality as k(stream_no, producer_id, epoch, no) on k.no = e.key
         where k.epoch > 0 and e.decision not in (2, 7)
         group by 1, 2
      ), moved as (
        update producer p
           set last_sequence = r.last_sequence, last_offset = coalesce(r.last_offset, p.last_offset)
          from reached r
         where p.stream_id = r.stream_id and p.workflow_id = c_nil and p.producer_id = r.producer_id
           and p.last_sequence = r.first_sequence - 1 and r.last_sequence - r.first_sequence + 1 = r.entries
        returning 1
      )
      select (select count(*) from moved) <> (select count(*) from reached) into v_hazard;
      if v_hazard then
        raise exception 'append: the numbers of a session leave a hole' using errcode = 'TR001';
      end if;
      -- Final rejections are kept with the session, in case the answer is lost.
      if v_decisions && array[3, 4, 5, 8, 9]::smallint[] then
        update session s
           set rejections = (
                 select jsonb_agg(r order by (r ->> 'sequence')::bigint)
                   from (select r from jsonb_array_elements(s.rejections || n.rejections) as r
                          order by (r ->> 'sequence')::bigint desc limit 100) as newest)
          from (select k.producer_id::uuid as session_id,
                       jsonb_agg(case e.decision
                         when 8 then convert_from(substring(p_payload from e.start for e.size), 'UTF8')::jsonb
                         when 9 then jsonb_build_object('refusal', 9, 'observation', o.id)
                         else jsonb_build_object('refusal', e.decision, 'workflow', k.workflow_id, 'task', k.task) end
                         || jsonb_build_object('sequence', e.sequence)) as rejections
                  from unnest(e_key, e_sequence, e_start, e_size, v_decisions)
                       with ordinality as e(key, sequence, start, size, decision, no)
                  join unnest(k_workflow, k_task, k_producer, k_epoch) with ordinality as k(workflow_id, task, producer_id, epoch, no)
                    on k.no = e.key
                  left join unnest(o_entry, o_id) as o(no, id) on o.no = e.no
                 where k.epoch > 0 and e.decision in (3, 4, 5, 8, 9)
                 group by 1) as n
         where s.session_id = n.session_id;
      end if;
    end if;

    if v_ends then
      insert into task (workflow_id, task_execution_id, terminal_type, terminal_offset)
      select k.workflow_id, k.task, e.type, e.o
        from unnest(e_key, e_type, v_decisions, v_offsets) as e(key, type, decision, o)
        join unnest(k_workflow, k_task) with ordinality as k(workflow_id, task, no) on k.no = e.key
       where e.decision = 1 and e.type in (9, 10, 11);
    end if;

    update stream s set next_offset = n.last_offset + 1
      from (select p_streams[k_stream[e.key]] as stream_id, max(e.o) as last_offset
              from unnest(e_key, v_decisions, v_offsets) as e(key, decision, o) where e.decision = 1 group by 1) as n
     where s.stream_id = n.stream_id;

    if v_refused then
      decisions := v_decisions;
    end if;
  end if;

  if p_ops <> '[]' then
    perform append_lock_counts(p_ops);
  end if;
  for v_op in select value from jsonb_array_elements(p_ops) loop
    op_results := op_results || jsonb_build_array(case v_op ->> 'op'
      when 'create' then append_create_workflow(v_op, p_payload, v_recorded)
      when 'close' then append_close_workflow(v_op, p_payload, v_recorded)
      when 'cancel' then append_request_cancel(v_op, p_payload, v_recorded)
      when 'attach' then append_attach_session(v_op, v_recorded)
      when 'end' then append_end_session(v_op, v_recorded)
      when 'set_variables' then append_set_variables(v_op, v_recorded)
      when 'delete_variable' then append_delete_variable(v_op, v_recorded)
    end);
  end loop;

  select array_agg(coalesce(s.next_offset, 1) - 1 order by p.no) into last_offsets
    from unnest(p_streams) with ordinality as p(stream_id, no) left join stream s using (stream_id);
  recorded_ms := v_recorded;
end $$;
--> statement-breakpoint

-- A tree's open workflows are counted in its root.
create function workflow_count_open() returns trigger language plpgsql as $$
begin
  update open_workflow_count
     set open = open + new.open_in_subtree - case tg_op when 'UPDATE' then old.open_in_subtree else 0 end
   where tenant_slug = new.tenant_slug;
  return null;
end $$;
--> statement-breakpoint
create trigger workflow_tree_created after insert on workflow for each row
  when (new.parent_workflow_id is null) execute function workflow_count_open();
--> statement-breakpoint
create trigger workflow_tree_counted after update of open_in_subtree on workflow for each row
  when (new.parent_workflow_id is null and new.open_in_subtree <> old.open_in_subtree)
  execute function workflow_count_open();
--> statement-breakpoint

-- Another limit. Its name makes it fire before tenant_limit_changed (0008): creations take the two locks in this order.
create function tenant_note_most_open() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('open workflows of ' || new.slug, 0));
  if new.max_open_workflows = 0 then
    delete from open_workflow_count where tenant_slug = new.slug;
  else
    update open_workflow_count set most = new.max_open_workflows where tenant_slug = new.slug;
    if not found then
      insert into open_workflow_count (tenant_slug, open, most)
      select new.slug, coalesce(sum(open_in_subtree), 0), new.max_open_workflows
        from workflow where tenant_slug = new.slug and parent_workflow_id is null;
    end if;
  end if;
  return new;
end $$;
--> statement-breakpoint
create trigger tenant_count_changed before update of max_open_workflows on tenant for each row
  when (old.max_open_workflows <> new.max_open_workflows) execute function tenant_note_most_open();
--> statement-breakpoint
create function tenant_begin_most_open() returns trigger language plpgsql as $$
begin
  insert into open_workflow_count (tenant_slug, open, most) values (new.slug, 0, new.max_open_workflows);
  return null;
end $$;
--> statement-breakpoint
create trigger tenant_made_with_limit after insert on tenant for each row
  when (new.max_open_workflows > 0) execute function tenant_begin_most_open();
--> statement-breakpoint

-- What is there. The triggers above hold the table of workflows until this is committed.
insert into open_workflow_count (tenant_slug, open, most)
select t.slug, coalesce((select sum(w.open_in_subtree) from workflow w
                          where w.tenant_slug = t.slug and w.parent_workflow_id is null), 0), t.max_open_workflows
  from tenant t where t.max_open_workflows > 0;
--> statement-breakpoint

-- An instance asks for p_wanted reading calls of a tenant, of which it has p_held; at most p_most are open anywhere. Returns how
-- many it may have now: never fewer than it has.
create function reader_take(p_instance uuid, p_tenant text, p_held int, p_wanted int, p_most bigint, p_lease_ms int)
returns int language plpgsql volatile as $$
declare
  v_now bigint;
  v_granted int;
begin
  perform pg_advisory_xact_lock(hashtextextended('readers of ' || p_tenant, 0));
  v_now := retention_now();
  delete from reader_count where tenant_slug = p_tenant and lease_expires_ms < v_now;
  select greatest(p_held, least(p_wanted, p_most - coalesce(sum(open), 0))) into v_granted
    from reader_count where tenant_slug = p_tenant and instance_id <> p_instance;
  if v_granted = 0 then
    delete from reader_count where tenant_slug = p_tenant and instance_id = p_instance;
  else
    insert into reader_count (tenant_slug, instance_id, open, lease_expires_ms)
    values (p_tenant, p_instance, v_granted, v_now + p_lease_ms)
    on conflict (tenant_slug, instance_id) do update set open = excluded.open, lease_expires_ms = excluded.lease_expires_ms;
  end if;
  return v_granted;
end $$;
