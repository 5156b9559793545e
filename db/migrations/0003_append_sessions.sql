-- append learns sessions (docs/decisions/0008-sessions.md). What is new against 0001, whose rules stand:
--   k_epoch                         of a session's keys the epoch of the connection that sends, k_producer its id; else 0
--   e_type 0                        an entry that was refused before it came here: not stored, but its number is passed;
--                                   its payload is the rejection {code, message} as JSON
--   e_chain 0                       no chain: in a session a refused entry is passed, and what follows stands
-- Entries of a session count in one producer row for all its workflows (workflow nil). A refused entry of a session moves
-- the sequence like a stored one, in the same transaction, and is noted in the session's rejections: so nothing that
-- was sent after it can be lost or stored twice. Numbers of a session leave no hole: that is a mistake of the caller (TR001).
drop function append(uuid[], int[], uuid[], text[], text[], int[], bigint[], smallint[], bigint[], int[], int[], boolean[], int[], jsonb, bytea);
--> statement-breakpoint

create function append(
  p_streams uuid[],
  k_stream int[], k_workflow uuid[], k_task text[], k_producer text[], k_epoch bigint[],
  e_key int[], e_sequence bigint[], e_type smallint[], e_timestamp bigint[],
  e_start int[], e_size int[], e_is_text boolean[], e_chain int[],
  p_ops jsonb, p_payload bytea,
  -- One per entry: 1 stored, 2 duplicate, 3 workflow closed, 4 task closed, 5 workflow unknown, 6 skipped, 7 of an older
  -- epoch, 8 passed (e_type 0). null: all stored.
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
  c_nil constant uuid := '00000000-0000-0000-0000-000000000000';
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
        select e.sequence <= lag(e.sequence) over (
                 partition by case when k.epoch > 0 then c_nil else k.workflow_id end, k.producer_id order by e.no) as hazard
          from unnest(e_key, e_sequence) with ordinality as e(key_no, sequence, no)
          join unnest(k_workflow, k_producer, k_epoch) with ordinality as k(workflow_id, producer_id, epoch, no)
            on k.no = e.key_no
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
               where p.stream_id = p_streams[k.stream_no]
                 and p.workflow_id = case when k.epoch > 0 then c_nil else k.workflow_id end
                 and p.producer_id = k.producer_id and p.epoch = k.epoch) as last_sequence,
             k.epoch > 0 as in_session
        from unnest(k_stream, k_workflow, k_task, k_producer, k_epoch)
             with ordinality as k(stream_no, workflow_id, task, producer_id, epoch, no)
    ), judged as (
      select e.no, e.chain,
             case when key.in_session and key.last_sequence is null then 7
                  when key.numbered and e.sequence <= key.last_sequence then 2
                  when e.type = 0 then 8
                  when key.status is null then 5
                  when key.status <> 1 then 3
                  when key.task_closed then 4
                  else 1 end as decision
        from unnest(e_key, e_sequence, e_type, e_chain) with ordinality as e(key_no, sequence, type, chain, no)
        join key on key.no = e.key_no
    )
    select array_agg(case when decision = 1 and chain > 0 and no > first_refused then 6 else decision end order by no)
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

    if exists (select from unnest(k_producer, k_epoch) as k(producer_id, epoch) where producer_id <> '' and epoch = 0) then
      insert into producer as p (stream_id, workflow_id, producer_id, last_sequence)
      select p_streams[k.stream_no], k.workflow_id, k.producer_id, max(e.sequence)
        from unnest(e_key, e_sequence, v_decisions) as e(key_no, sequence, decision)
        join unnest(k_stream, k_workflow, k_producer, k_epoch) with ordinality as k(stream_no, workflow_id, producer_id, epoch, no)
          on k.no = e.key_no
       where e.decision = 1 and k.producer_id <> '' and k.epoch = 0
       group by 1, 2, 3
      on conflict (stream_id, workflow_id, producer_id) do update set last_sequence = excluded.last_sequence;
    end if;

    if exists (select from unnest(k_epoch) as epoch where epoch > 0) then
      perform append_pass_session(p_streams, k_stream, k_workflow, k_task, k_producer, k_epoch, e_key, e_sequence,
                                  e_start, e_size, v_decisions, v_next, p_payload);
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
      when 'attach' then append_attach_session(v_op, v_recorded)
      when 'end' then append_end_session(v_op, v_recorded)
    end);
  end loop;

  select array_agg(coalesce(s.next_offset, 1) - 1 order by p.no) into last_offsets
    from unnest(p_streams) with ordinality as p(stream_id, no) left join stream s using (stream_id);
  recorded_ms := v_recorded;
end $$;
--> statement-breakpoint

-- Moves the sequences of the group's sessions past what was decided, and notes final rejections.
create function append_pass_session(
  p_streams uuid[], k_stream int[], k_workflow uuid[], k_task text[], k_producer text[], k_epoch bigint[],
  e_key int[], e_sequence bigint[], e_start int[], e_size int[], p_decisions smallint[], p_next bigint[], p_payload bytea
) returns void language plpgsql volatile
set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
  c_nil constant uuid := '00000000-0000-0000-0000-000000000000';
  v_holes boolean;
begin
  with passed as (
    select k.stream_no, k.producer_id, k.epoch, e.sequence, e.decision,
           -- Over all entries of the stream: a session shares it with others.
           p_next[k.stream_no] - 1 + count(*) filter (where e.decision = 1) over (partition by k.stream_no order by e.no) as o
      from unnest(e_key, e_sequence, p_decisions) with ordinality as e(key_no, sequence, decision, no)
      join unnest(k_stream, k_producer, k_epoch) with ordinality as k(stream_no, producer_id, epoch, no) on k.no = e.key_no
  ), reached as (
    select p_streams[stream_no] as stream_id, producer_id, min(sequence) as first_sequence, max(sequence) as last_sequence,
           count(*) as entries, max(o) filter (where decision = 1) as last_offset
      from passed where epoch > 0 and decision not in (2, 7) group by 1, 2
  ), moved as (
    update producer p
       set last_sequence = r.last_sequence, last_offset = coalesce(r.last_offset, p.last_offset)
      from reached r
     where p.stream_id = r.stream_id and p.workflow_id = c_nil and p.producer_id = r.producer_id
       and p.last_sequence = r.first_sequence - 1 and r.last_sequence - r.first_sequence + 1 = r.entries
    returning 1
  )
  select (select count(*) from moved) <> (select count(*) from reached) into v_holes;
  if v_holes then
    raise exception 'append: the numbers of a session leave a hole' using errcode = 'TR001';
  end if;

  if p_decisions && array[3, 4, 5, 8]::smallint[] then
    update session s
       set rejections = (
             select jsonb_agg(r order by (r ->> 'sequence')::bigint)
               from (select r from jsonb_array_elements(s.rejections || n.rejections) as r
                      order by (r ->> 'sequence')::bigint desc limit 100) as newest)
      from (select k.producer_id::uuid as session_id,
                   jsonb_agg(case when e.decision = 8
                     then convert_from(substring(p_payload from e.start for e.size), 'UTF8')::jsonb
                     else jsonb_build_object('refusal', e.decision, 'workflow', k.workflow_id, 'task', k.task) end
                     || jsonb_build_object('sequence', e.sequence)) as rejections
              from unnest(e_key, e_sequence, e_start, e_size, p_decisions) as e(key_no, sequence, start, size, decision)
              join unnest(k_workflow, k_task, k_producer, k_epoch) with ordinality as k(workflow_id, task, producer_id, epoch, no)
                on k.no = e.key_no
             where k.epoch > 0 and e.decision in (3, 4, 5, 8)
             group by 1) as n
     where s.session_id = n.session_id;
  end if;
end $$;
--> statement-breakpoint

-- A connection takes a session {session, stream, tenant, workflow?, resume, leaseMs, maxSessions}: makes it, or raises its
-- epoch so that entries of older connections are refused from here on. maxSessions 0: no limit.
-- Result: {"result": "attached", "epoch", "lastSequence", "lastOffset", "rejections", "cancels": [{"workflow", "reason"}]},
-- or "unknown", "ended" (with lastSequence), "other_target", "too_many".
create function append_attach_session(op jsonb, p_recorded bigint) returns jsonb language plpgsql volatile as $$
declare
  c_nil constant uuid := '00000000-0000-0000-0000-000000000000';
  v_id uuid := op ->> 'session';
  v_stream uuid := op ->> 'stream';
  v_workflow uuid := op ->> 'workflow';
  v_session session%rowtype;
  v_producer producer%rowtype;
begin
  if not (op ->> 'resume')::boolean then
    if (op ->> 'maxSessions')::bigint > 0
       and (select count(*) from session where tenant_slug = op ->> 'tenant' and closed_ms is null) >= (op ->> 'maxSessions')::bigint
    then
      return '{"result": "too_many"}';
    end if;
    insert into session (session_id, tenant_slug, stream_id, workflow_id, state, created_ms, last_activity_ms, lease_expires_ms)
    select v_id, op ->> 'tenant', v_stream, v_workflow, 1, p_recorded, p_recorded, p_recorded + (op ->> 'leaseMs')::bigint
     where exists (select from stream where stream_id = v_stream)
    on conflict (session_id) do nothing; -- the same command again, after a commit whose outcome was not known
    if found then
      insert into producer (stream_id, workflow_id, producer_id, last_sequence) values (v_stream, c_nil, v_id::text, 0);
    end if;
  end if;
  select * into v_session from session where session_id = v_id and stream_id = v_stream for update;
  if not found then
    return '{"result": "unknown"}';
  end if;
  select * into strict v_producer from producer
   where stream_id = v_stream and workflow_id = c_nil and producer_id = v_id::text;
  if v_session.workflow_id is distinct from v_workflow then
    return '{"result": "other_target"}';
  end if;
  if v_session.closed_ms is null and v_session.lease_expires_ms < p_recorded then
    update session set state = 7, closed_ms = p_recorded, closed_reason = 3 where session_id = v_id;
    update producer set epoch = epoch + 1
     where stream_id = v_stream and workflow_id = c_nil and producer_id = v_id::text;
    v_session.closed_ms := p_recorded;
  end if;
  if v_session.closed_ms is not null then
    return jsonb_build_object('result', 'ended', 'lastSequence', v_producer.last_sequence);
  end if;
  update producer set epoch = epoch + 1
   where stream_id = v_stream and workflow_id = c_nil and producer_id = v_id::text returning * into strict v_producer;
  update session set state = 1, last_activity_ms = p_recorded, lease_expires_ms = p_recorded + (op ->> 'leaseMs')::bigint
   where session_id = v_id;
  return jsonb_build_object(
    'result', 'attached', 'epoch', v_producer.epoch, 'lastSequence', v_producer.last_sequence,
    'lastOffset', v_producer.last_offset, 'rejections', v_session.rejections,
    'cancels', coalesce((
      -- A request for a workflow above asks for its descendants too.
      select jsonb_agg(jsonb_build_object('workflow', c.workflow_id, 'reason', c.cancel_reason))
        from workflow w join workflow c on c.workflow_id = any (w.path)
       where w.workflow_id = v_workflow and c.cancel_requested_ms is not null and c.status = 1), '[]'));
end $$;
--> statement-breakpoint

-- Ends a session for good {session, stream, reason, epoch?}; with an epoch only if no other connection has taken it since.
-- Result: {"result": "ended" | "unchanged" | "fenced" | "unknown", "lastSequence", "lastOffset"}.
create function append_end_session(op jsonb, p_recorded bigint) returns jsonb language plpgsql volatile as $$
declare
  c_nil constant uuid := '00000000-0000-0000-0000-000000000000';
  v_id uuid := op ->> 'session';
  v_closed bigint;
  v_producer producer%rowtype;
begin
  select closed_ms into v_closed from session where session_id = v_id and stream_id = (op ->> 'stream')::uuid for update;
  if not found then
    return '{"result": "unknown"}';
  end if;
  select * into strict v_producer from producer
   where stream_id = (op ->> 'stream')::uuid and workflow_id = c_nil and producer_id = v_id::text;
  if v_closed is null and op ->> 'epoch' is not null and v_producer.epoch <> (op ->> 'epoch')::bigint then
    return jsonb_build_object('result', 'fenced', 'lastSequence', v_producer.last_sequence, 'lastOffset', v_producer.last_offset);
  end if;
  if v_closed is null then
    update session set state = 7, closed_ms = p_recorded, closed_reason = (op ->> 'reason')::smallint,
                       last_activity_ms = p_recorded where session_id = v_id;
    update producer set epoch = epoch + 1
     where stream_id = (op ->> 'stream')::uuid and workflow_id = c_nil and producer_id = v_id::text;
  end if;
  return jsonb_build_object('result', case when v_closed is null then 'ended' else 'unchanged' end,
                            'lastSequence', v_producer.last_sequence, 'lastOffset', v_producer.last_offset);
end $$;
