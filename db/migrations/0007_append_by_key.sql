-- append, leaner: what it decides, stores and answers is as before (0001, 0003, 0005).
-- What depends on a key (workflow, task, producer) is now looked up once a key and put into arrays. Before, Postgres had
-- taken the look-ups apart and did them for each entry (400 index scans for 100 entries of one task, a third of the call),
-- read the whole table of tasks for each call, and looked for a workflow among all those of its stream.
-- Each look-up is a scalar subquery by the whole primary key and nothing else: whatever the planner believes of the tables'
-- sizes, there is one way to answer it (`test/db/append-cost.test.ts` counts what is read).
-- Offsets are given out once, in v_offsets; every statement after that reads them.
--
-- append also learns variables (docs/variables.md): two ops more. A change of variables is
-- decided under the stream's lock and stored with its entries in the same transaction, so the rows of a workflow are at any
-- moment what its entries say.
--
-- Ops run one after another, each seeing what the last one did; so several of one stream may share a group.

-- Lifecycle: a plan made while there were few workflows read all of a stream's, or the whole table, for each call. What these
-- three do is as before; they ask for the stream in a way that no index answers, and change rows one by one, by key.
create or replace function append_create_workflow(op jsonb, p_payload bytea, p_recorded bigint) returns jsonb
language plpgsql volatile as $$
declare
  v_id uuid := op ->> 'workflow';
  v_stream uuid := op ->> 'stream';
  v_parent workflow%rowtype;
  v_offset bigint;
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
  else
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

create or replace function append_close_workflow(op jsonb, p_payload bytea, p_recorded bigint) returns jsonb
language plpgsql volatile as $$
declare
  v_id uuid := op ->> 'workflow';
  v_stream uuid := op ->> 'stream';
  v_status int := (op ->> 'status')::int;
  v_self workflow%rowtype;
  v_closing record;
  v_ids uuid[] := '{}';
  v_offsets bigint[] := '{}';
  v_offset bigint;
begin
  select * into v_self from workflow where workflow_id = v_id and (stream_id = v_stream) is true;
  if not found then
    return '{"result": "unknown"}';
  end if;
  if v_self.status <> 1 then
    return jsonb_build_object('result', case when v_self.status = v_status then 'unchanged' else 'closed_otherwise' end,
                              'offset', v_self.terminal_offset, 'status', v_self.status);
  end if;

  if (op ->> 'closeDescendants')::boolean and v_self.open_in_subtree > 1 then
    for v_closing in
      select workflow_id from workflow
       where stream_id = v_stream and status = 1 and path @> array[v_id] and workflow_id <> v_id
       order by depth desc, created_offset desc
    loop
      v_offset := append_lifecycle_entry(v_stream, v_closing.workflow_id, 23, p_payload,
                                         (op ->> 'descendantStart')::int, (op ->> 'descendantSize')::int, p_recorded);
      v_ids := v_ids || v_closing.workflow_id;
      v_offsets := v_offsets || v_offset;
    end loop;
    for v_closing in select workflow_id, closed_at from unnest(v_ids, v_offsets) as c(workflow_id, closed_at) loop
      update workflow set status = 4, closed_ms = p_recorded, terminal_offset = v_closing.closed_at
       where workflow_id = v_closing.workflow_id;
    end loop;
  end if;

  v_offset := append_lifecycle_entry(v_stream, v_id, 19 + v_status, p_payload,
                                     (op ->> 'start')::int, (op ->> 'size')::int, p_recorded);
  update workflow set status = v_status, closed_ms = p_recorded, terminal_offset = v_offset,
                      open_in_subtree = open_in_subtree - 1,
                      subtree_final_offset = case when open_in_subtree = 1 then v_offset end
   where workflow_id = v_id;
  -- Each closed workflow counts down along its path; its own row was done above only for v_id.
  for v_closing in
    select ancestor, count(*)::int as closed, max(closed_at) as last_offset
      from (select unnest(w.path) as ancestor, c.closed_at
              from unnest(v_ids, v_offsets) as c(workflow_id, closed_at),
                   lateral (select path from workflow w where w.workflow_id = c.workflow_id offset 0) as w
            union all
            select unnest(trim_array(v_self.path, 1)), v_offset) as steps
     group by ancestor
  loop
    update workflow
       set open_in_subtree = open_in_subtree - v_closing.closed,
           subtree_final_offset = case when open_in_subtree = v_closing.closed then v_closing.last_offset end
     where workflow_id = v_closing.ancestor;
  end loop;
  -- With descendants its own count reaches 0 in the second update, but its subtree ends with its own event.
  if cardinality(v_ids) > 0 then
    update workflow set subtree_final_offset = v_offset where workflow_id = v_id and open_in_subtree = 0;
  end if;
  return jsonb_build_object('result', 'closed', 'offset', v_offset, 'status', v_status);
end $$;
--> statement-breakpoint

create or replace function append_request_cancel(op jsonb, p_payload bytea, p_recorded bigint) returns jsonb
language plpgsql volatile as $$
declare
  v_self workflow%rowtype;
begin
  select * into v_self from workflow
   where workflow_id = (op ->> 'workflow')::uuid and (stream_id = (op ->> 'stream')::uuid) is true;
  if not found then
    return '{"result": "unknown"}';
  end if;
  if v_self.status <> 1 then
    return jsonb_build_object('result', 'closed', 'status', v_self.status);
  end if;
  if v_self.cancel_requested_ms is not null then
    return '{"result": "unchanged"}';
  end if;
  perform append_lifecycle_entry(v_self.stream_id, v_self.workflow_id, 24, p_payload,
                                 (op ->> 'start')::int, (op ->> 'size')::int, p_recorded);
  update workflow set cancel_requested_ms = p_recorded, cancel_reason = op ->> 'reason'
   where workflow_id = v_self.workflow_id;
  return '{"result": "requested"}';
end $$;
--> statement-breakpoint

-- The names that entries give to tributary.v1.VariableType.
create function variable_type_name(p_type int) returns text language sql immutable as $$
  select (array['BOOLEAN', 'INTEGER', 'FLOAT', 'STRING', 'CHOICE', 'JSON'])[p_type]
$$;
--> statement-breakpoint

-- Sets the variables of op.items, all or none; their names differ. Each has
--   n name   t type, if it is new   v value, as JSON text   m metadata to merge   x: empty the metadata first
--   c constraints as JSON text; '': none; null: as they are
--   e the version that it must have (0: must not exist); null: any   r the rules it was judged by (0: does not exist)
-- Values and constraints are texts, and entries are put together as text, so that every number stays as it was written.
-- op.full: the answer also has each one's metadata.
create function append_set_variables(op jsonb, p_recorded bigint) returns jsonb language plpgsql volatile as $$
declare
  v_workflow uuid := op ->> 'workflow';
  v_stream uuid := op ->> 'stream';
  v_status int;
  v_next bigint;
  v_answer jsonb;
  c_metadata_bytes constant int := 16384;
begin
  select case when stream_id = v_stream then status end into v_status from workflow where workflow_id = v_workflow;
  if v_status is null then
    return '{"result": "unknown"}';
  end if;
  select next_offset into v_next from stream where stream_id = v_stream;
  if v_status <> 1 then
    return jsonb_build_object('result', 'closed', 'status', v_status);
  end if;

  with given as materialized (
    select no, n as name, t as type, v as value, c as constraints, coalesce(m, '{}') as metadata, coalesce(x, false) as cleared,
           e as expected, r as rules
      from rows from (jsonb_to_recordset(op -> 'items') as (n text, t int, v text, c text, m jsonb, x boolean, e bigint, r bigint))
           with ordinality as i(n, t, v, c, m, x, e, r, no)
  ), found as materialized (
    -- offset 0: one index look-up a name, whatever the planner believes of the table's size.
    select g.no, g.name, g.value, g.metadata <> '{}' as adds_metadata, g.expected, g.rules,
           coalesce(v.lives, false) as lives, coalesce(v.version, 0) as version, coalesce(v.rules_version, 0) as rules_version,
           case when v.lives then v.type else g.type end as type,
           case when v.lives then v.value end as old_value,
           case when v.lives then v.constraints end as old_constraints,
           case when g.constraints is not null then nullif(g.constraints, '')
                when v.lives then v.constraints end as constraints,
           case when v.lives and not g.cleared then v.metadata else '{}' end || g.metadata as metadata,
           case when v.lives then v.created_ms else p_recorded end as created_ms
      from given g
      left join lateral (select *, not deleted as lives from variable
                          where workflow_id = v_workflow and name = g.name offset 0) as v on true
  ), judged as materialized (
    select *,
           case when expected <> case when lives then version else 0 end then 'conflict'
                when rules <> case when lives then rules_version else 0 end then 'rules'
                when adds_metadata and (select sum(octet_length(key) + octet_length(value)) from jsonb_each_text(metadata))
                                       > c_metadata_bytes then 'metadata'
           end as problem,
           rules_version + (not lives or constraints is distinct from old_constraints)::int as new_rules
      from found
  ), fine as materialized (
    select * from judged where not exists (select from judged where problem is not null)
  ), stored as (
    insert into variable (workflow_id, name, type, value, constraints, metadata, version, rules_version, source, "offset",
                          deleted, created_ms, updated_ms)
    select v_workflow, name, type, value, constraints, metadata, version + 1, new_rules, op ->> 'source', v_next - 1 + no,
           false, created_ms, p_recorded
      from fine
    on conflict (workflow_id, name) do update
       set (type, value, constraints, metadata, version, rules_version, source, "offset", deleted, created_ms, updated_ms)
         = (excluded.type, excluded.value, excluded.constraints, excluded.metadata, excluded.version, excluded.rules_version,
            excluded.source, excluded."offset", false, excluded.created_ms, excluded.updated_ms)
  ), entered as (
    insert into event (stream_id, "offset", workflow_id, task_execution_id, producer_id, sequence, type,
                       payload, payload_is_text, timestamp_ms, recorded_ms)
    select v_stream, v_next - 1 + no, v_workflow, '', '', 0, 30,
           convert_to(concat(
             '{"name":', to_json(name), ',"type":"', variable_type_name(type), '","value":', value,
             ',"oldValue":' || old_value, ',"constraints":' || constraints, ',"metadata":', metadata,
             ',"version":', version + 1, ',"source":', to_json(op ->> 'source'), ',"createdMs":', created_ms, '}'), 'UTF8'),
           true, p_recorded, p_recorded
      from fine
  ), moved as (
    update stream set next_offset = v_next + (select count(*) from fine) where stream_id = v_stream
  )
  select case when exists (select from judged where problem = 'conflict') then
           (select jsonb_build_object('result', 'conflict', 'conflicts',
                     jsonb_agg(jsonb_build_array(no - 1, case when lives then version else 0 end) order by no))
              from judged where problem = 'conflict')
         when exists (select from judged where problem = 'rules') then
           (select jsonb_build_object('result', 'rules', 'stale', jsonb_agg(no - 1 order by no)) from judged where problem = 'rules')
         when exists (select from judged where problem is not null) then
           (select jsonb_build_object('result', 'metadata', 'large', jsonb_agg(no - 1 order by no))
              from judged where problem = 'metadata')
         else
           (select jsonb_build_object('result', 'set', 'offset', v_next, 'set', jsonb_agg(
                     case when (op -> 'full')::boolean
                          then jsonb_build_array(version + 1, new_rules, created_ms, metadata)
                          else jsonb_build_array(version + 1, new_rules, created_ms) end order by no))
              from fine)
         end into v_answer;
  return v_answer;
end $$;
--> statement-breakpoint

-- The row stays without its content, so that its versions and its rules' versions go on.
create function append_delete_variable(op jsonb, p_recorded bigint) returns jsonb language plpgsql volatile as $$
declare
  v_workflow uuid := op ->> 'workflow';
  v_stream uuid := op ->> 'stream';
  v_status int;
  v_offset bigint;
  v_self variable%rowtype;
begin
  select case when stream_id = v_stream then status end into v_status from workflow where workflow_id = v_workflow;
  if v_status is null then
    return '{"result": "unknown"}';
  end if;
  select next_offset into v_offset from stream where stream_id = v_stream;
  if v_status <> 1 then
    return jsonb_build_object('result', 'closed', 'status', v_status);
  end if;
  select * into v_self from variable where workflow_id = v_workflow and name = op ->> 'name' and not deleted;
  if not found then
    return '{"result": "missing"}';
  end if;
  if (op ->> 'expected')::bigint <> v_self.version then
    return jsonb_build_object('result', 'conflict', 'conflicts', jsonb_build_array(jsonb_build_array(0, v_self.version)));
  end if;
  insert into event (stream_id, "offset", workflow_id, task_execution_id, producer_id, sequence, type,
                     payload, payload_is_text, timestamp_ms, recorded_ms)
  values (v_stream, v_offset, v_workflow, '', '', 0, 31,
          convert_to(concat(
            '{"name":', to_json(v_self.name), ',"type":"', variable_type_name(v_self.type), '","oldValue":', v_self.value,
            ',"constraints":' || v_self.constraints, ',"metadata":', v_self.metadata, ',"version":', v_self.version,
            ',"source":', to_json(op ->> 'source'), ',"createdMs":', v_self.created_ms, '}'), 'UTF8'),
          true, p_recorded, p_recorded);
  update variable set value = 'null', constraints = null, metadata = '{}', source = op ->> 'source', "offset" = v_offset,
                      deleted = true, updated_ms = p_recorded
   where workflow_id = v_workflow and name = v_self.name;
  update stream set next_offset = v_offset + 1 where stream_id = v_stream;
  return jsonb_build_object('result', 'deleted', 'offset', v_offset);
end $$;
--> statement-breakpoint

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

drop function append_pass_session(uuid[], int[], uuid[], text[], text[], bigint[], int[], bigint[], int[], int[], int[], text[], smallint[], bigint[], bytea);
--> statement-breakpoint

-- New words wait in a list until they are put into the index. By default whichever commit finds the list full (4 MiB) does
-- that, for all and before it ends: 50–75 ms every second or two at 10,000 observations/s. Now the service does it beside
-- the commits (server/store/word-index.ts); should it not, commits do from 64 MiB on.
alter index observation_by_words set (gin_pending_list_limit = 65536);
--> statement-breakpoint
-- Only the index's owner may; the service need not be that.
create function observation_index_words() returns bigint language sql security definer set search_path = pg_catalog, public
as $$ select gin_clean_pending_list('observation_by_words'::regclass) $$;
