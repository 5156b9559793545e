-- append: the one function that writes entries of streams. It locks, and only then, in further statements and so
-- with a snapshot that is not older than the lock, it decides and writes. The locks are held to the commit, so commit
-- order equals offset order in every stream. A single statement that locks and decides would store duplicates and
-- entries after a terminal one; locking by `update … from` would deadlock (see docs/decisions/0002-append.md).
--
-- One call stores a group of commands. To keep parsing cheap the group comes as arrays, not as JSON:
--   p_streams                       the streams of the group, each once: what is locked
--   k_*                             the distinct (stream, workflow, task, producer) of the entries; k_stream indexes p_streams
--   e_*                             the entries, in order; e_key indexes k_*; e_size -1: no payload; e_start counts from 1;
--                                   e_chain: after the first refused entry of a chain the rest of it is skipped
--   p_ops                           lifecycle changes; each is the last change of its stream in the group
--   p_payload                       all payloads, one after another
--
-- Two entries of one group whose decisions would depend on one another are a mistake of the caller (the appender seals
-- a stream instead) and raise TR001; so the decisions are set-based on the state that the locks protect.
create function append(
  p_streams uuid[],
  k_stream int[], k_workflow uuid[], k_task text[], k_producer text[],
  e_key int[], e_sequence bigint[], e_type smallint[], e_timestamp bigint[],
  e_start int[], e_size int[], e_is_text boolean[], e_chain int[],
  p_ops jsonb, p_payload bytea,
  -- One per entry: 1 stored, 2 duplicate, 3 workflow closed, 4 task closed, 5 workflow unknown, 6 skipped. null: all stored.
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
  v_decisions smallint[];
  v_next bigint[];
begin
  perform 1 from stream where stream_id = any (p_streams) order by stream_id for update;

  v_recorded := (extract(epoch from clock_timestamp()) * 1000)::bigint;
  select array_agg(coalesce(s.next_offset, 1) order by p.no) into v_next
    from unnest(p_streams) with ordinality as p(stream_id, no) left join stream s using (stream_id);
  first_offsets := v_next;
  op_results := '[]';

  if cardinality(e_key) > 0 then
    if exists (
      select from (
        select e.sequence <= lag(e.sequence) over (partition by k.workflow_id, k.producer_id order by e.no) as hazard
          from unnest(e_key, e_sequence) with ordinality as e(key_no, sequence, no)
          join unnest(k_workflow, k_producer) with ordinality as k(workflow_id, producer_id, no) on k.no = e.key_no
         where k.producer_id <> ''
        union all
        select bool_or(e.type in (9, 10, 11)) over (
                 partition by k.workflow_id, k.task order by e.no rows between unbounded preceding and 1 preceding)
          from unnest(e_key, e_type) with ordinality as e(key_no, type, no)
          join unnest(k_workflow, k_task) with ordinality as k(workflow_id, task, no) on k.no = e.key_no
         where e_type && array[9, 10, 11]::smallint[]
      ) as pairs where hazard
    ) then
      raise exception 'append: entries of one group depend on one another' using errcode = 'TR001';
    end if;

    with key as (
      -- Scalar subqueries: always one index look-up a key, whatever the planner believes of the tables' sizes.
      select k.no, k.producer_id <> '' as numbered,
             (select w.status from workflow w
               where w.workflow_id = k.workflow_id and w.stream_id = p_streams[k.stream_no]) as status,
             exists (select from task t where t.workflow_id = k.workflow_id and t.task_execution_id = k.task) as task_closed,
             (select p.last_sequence from producer p
               where p.stream_id = p_streams[k.stream_no] and p.workflow_id = k.workflow_id
                 and p.producer_id = k.producer_id) as last_sequence
        from unnest(k_stream, k_workflow, k_task, k_producer) with ordinality as k(stream_no, workflow_id, task, producer_id, no)
    ), judged as (
      select e.no, e.chain,
             case when key.numbered and e.sequence <= key.last_sequence then 2
                  when key.status is null then 5
                  when key.status <> 1 then 3
                  when key.task_closed then 4
                  else 1 end as decision
        from unnest(e_key, e_sequence, e_chain) with ordinality as e(key_no, sequence, chain, no)
        join key on key.no = e.key_no
    )
    select array_agg(case when decision = 1 and no > first_refused then 6 else decision end order by no)
      into v_decisions
      from (select *, min(no) filter (where decision >= 3) over (partition by chain) as first_refused from judged) as j;

    insert into event (stream_id, "offset", workflow_id, task_execution_id, producer_id, sequence, type,
                       payload, payload_is_text, timestamp_ms, recorded_ms)
    select p_streams[k.stream_no], v_next[k.stream_no] - 1 + row_number() over (partition by k.stream_no order by e.no),
           k.workflow_id, k.task, k.producer_id, e.sequence, e.type,
           case when e.size >= 0 then substring(p_payload from e.start for e.size) end, e.is_text,
           e.timestamp_ms, v_recorded
      from unnest(e_key, e_sequence, e_type, e_timestamp, e_start, e_size, e_is_text, v_decisions)
           with ordinality as e(key_no, sequence, type, timestamp_ms, start, size, is_text, decision, no)
      join unnest(k_stream, k_workflow, k_task, k_producer)
           with ordinality as k(stream_no, workflow_id, task, producer_id, no) on k.no = e.key_no
     where e.decision = 1;

    if exists (select from unnest(k_producer) as producer_id where producer_id <> '') then
      insert into producer as p (stream_id, workflow_id, producer_id, last_sequence)
      select p_streams[k.stream_no], k.workflow_id, k.producer_id, max(e.sequence)
        from unnest(e_key, e_sequence, v_decisions) as e(key_no, sequence, decision)
        join unnest(k_stream, k_workflow, k_producer) with ordinality as k(stream_no, workflow_id, producer_id, no)
          on k.no = e.key_no
       where e.decision = 1 and k.producer_id <> ''
       group by 1, 2, 3
      on conflict (stream_id, workflow_id, producer_id) do update set last_sequence = excluded.last_sequence;
    end if;

    if e_type && array[9, 10, 11]::smallint[] then
      insert into task (workflow_id, task_execution_id, terminal_type, terminal_offset)
      select workflow_id, task, type, o
        from (select k.workflow_id, k.task, e.type,
                     v_next[k.stream_no] - 1 + row_number() over (partition by k.stream_no order by e.no) as o
                from unnest(e_key, e_type, v_decisions) with ordinality as e(key_no, type, decision, no)
                join unnest(k_stream, k_workflow, k_task) with ordinality as k(stream_no, workflow_id, task, no)
                  on k.no = e.key_no
               where e.decision = 1) as stored
       where type in (9, 10, 11);
    end if;

    update stream s set next_offset = s.next_offset + n.stored
      from (select p_streams[k.stream_no] as stream_id, count(*) as stored
              from unnest(e_key, v_decisions) as e(key_no, decision)
              join unnest(k_stream) with ordinality as k(stream_no, no) on k.no = e.key_no
             where e.decision = 1 group by 1) as n
     where s.stream_id = n.stream_id;

    if exists (select from unnest(v_decisions) as d where d <> 1) then
      decisions := v_decisions;
    end if;
  end if;

  for v_op in select value from jsonb_array_elements(p_ops) loop
    op_results := op_results || jsonb_build_array(case v_op ->> 'op'
      when 'create' then append_create_workflow(v_op, p_payload, v_recorded)
      when 'close' then append_close_workflow(v_op, p_payload, v_recorded)
      when 'cancel' then append_request_cancel(v_op, p_payload, v_recorded)
    end);
  end loop;

  select array_agg(coalesce(s.next_offset, 1) - 1 order by p.no) into last_offsets
    from unnest(p_streams) with ordinality as p(stream_id, no) left join stream s using (stream_id);
  recorded_ms := v_recorded;
end $$;
--> statement-breakpoint

-- Writes one lifecycle entry at the end of its stream, whose lock the caller holds, and returns its offset.
-- The payload is the slice [start, size] of p_payload; size -1: none.
create function append_lifecycle_entry(
  p_stream uuid, p_workflow uuid, p_type int, p_payload bytea, p_start int, p_size int, p_recorded bigint
) returns bigint language plpgsql volatile as $$
declare
  v_offset bigint;
begin
  update stream set next_offset = next_offset + 1 where stream_id = p_stream returning next_offset - 1 into strict v_offset;
  insert into event (stream_id, "offset", workflow_id, task_execution_id, producer_id, sequence, type,
                     payload, payload_is_text, timestamp_ms, recorded_ms)
  values (p_stream, v_offset, p_workflow, '', '', 0, p_type,
          case when p_size >= 0 then substring(p_payload from p_start for p_size) end, true, p_recorded, p_recorded);
  return v_offset;
end $$;
--> statement-breakpoint

-- Registers a workflow {tenant, stream, workflow, parent?, name, metadata, retentionMaxAgeMs?, retentionMaxEvents?, start, size}.
-- Without a parent it makes the stream too. Result: {"result": "created" | "exists" | "parent_closed" | "unknown" | "too_deep"}.
create function append_create_workflow(op jsonb, p_payload bytea, p_recorded bigint) returns jsonb
language plpgsql volatile as $$
declare
  v_id uuid := op ->> 'workflow';
  v_stream uuid := op ->> 'stream';
  v_parent workflow%rowtype;
  v_offset bigint;
begin
  if op ->> 'parent' is not null then
    select * into v_parent from workflow where workflow_id = (op ->> 'parent')::uuid and stream_id = v_stream;
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

-- Closes a workflow {stream, workflow, status, closeDescendants, start, size, descendantStart, descendantSize}; with
-- closeDescendants first its open descendants as CANCELLED, deepest first. Keeps open_in_subtree and the final offset
-- of every subtree above. Result: {"result": "closed" | "unchanged" | "closed_otherwise" | "unknown", "offset", "status"}.
create function append_close_workflow(op jsonb, p_payload bytea, p_recorded bigint) returns jsonb
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
  select * into v_self from workflow where workflow_id = v_id and stream_id = v_stream;
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
    update workflow w set status = 4, closed_ms = p_recorded, terminal_offset = c.closed_at
      from unnest(v_ids, v_offsets) as c(workflow_id, closed_at) where w.workflow_id = c.workflow_id;
  end if;

  v_offset := append_lifecycle_entry(v_stream, v_id, 19 + v_status, p_payload,
                                     (op ->> 'start')::int, (op ->> 'size')::int, p_recorded);
  update workflow set status = v_status, closed_ms = p_recorded, terminal_offset = v_offset,
                      open_in_subtree = open_in_subtree - 1,
                      subtree_final_offset = case when open_in_subtree = 1 then v_offset end
   where workflow_id = v_id;
  -- Each closed workflow counts down along its path; its own row was done above only for v_id.
  update workflow w
     set open_in_subtree = w.open_in_subtree - c.closed,
         subtree_final_offset = case when w.open_in_subtree = c.closed then c.last_offset end
    from (select ancestor, count(*)::int as closed, max(closed_at) as last_offset
            from (select unnest(w.path) as ancestor, c.closed_at
                    from unnest(v_ids, v_offsets) as c(workflow_id, closed_at) join workflow w using (workflow_id)
                  union all
                  select unnest(trim_array(v_self.path, 1)), v_offset) as steps
           group by ancestor) as c
   where w.workflow_id = c.ancestor;
  -- With descendants its own count reaches 0 in the second update, but its subtree ends with its own event.
  if cardinality(v_ids) > 0 then
    update workflow set subtree_final_offset = v_offset where workflow_id = v_id and open_in_subtree = 0;
  end if;
  return jsonb_build_object('result', 'closed', 'offset', v_offset, 'status', v_status);
end $$;
--> statement-breakpoint

-- Notes that somebody asked for a stop {stream, workflow, reason, start, size}; the first request counts.
-- Result: {"result": "requested" | "unchanged" | "closed" | "unknown"}.
create function append_request_cancel(op jsonb, p_payload bytea, p_recorded bigint) returns jsonb
language plpgsql volatile as $$
declare
  v_self workflow%rowtype;
begin
  select * into v_self from workflow
   where workflow_id = (op ->> 'workflow')::uuid and stream_id = (op ->> 'stream')::uuid;
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
