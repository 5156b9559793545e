-- An event remembers the trace context of its writer, so that the trace of whoever reads it can link to it. Null for
-- whoever is not traced, which costs nothing but the column.
--
-- append takes two arguments more. They have defaults, so the previous release goes on calling it as it did: statements that it
-- has prepared are looked up anew by Postgres.
ALTER TABLE "event" ADD COLUMN "trace_context" bytea;--> statement-breakpoint

drop function append(uuid[], int[], uuid[], text[], text[], bigint[], int[], bigint[], smallint[], bigint[], int[], int[], boolean[], int[], int[], text[], text[], real[], real[], bigint[], jsonb, bytea);
--> statement-breakpoint

-- Here: the trace contexts. All else is as in 0009.
create function append(
  p_streams uuid[],
  k_stream int[], k_workflow uuid[], k_task text[], k_producer text[], k_epoch bigint[],
  e_key int[], e_sequence bigint[], e_type smallint[], e_timestamp bigint[],
  e_start int[], e_size int[], e_is_text boolean[], e_chain int[],
  o_entry int[], o_id text[], o_metadata text[], o_confidence real[], o_importance real[], o_observed bigint[],
  p_ops jsonb, p_payload bytea,
  -- Trace contexts, 25 bytes each, and which one an entry has, from 1; 0, or no array at all: none.
  e_trace int[] default null, p_traces bytea default null,
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
                       payload, payload_is_text, timestamp_ms, recorded_ms, trace_context)
    select p_streams[k.stream_no], e.o, nullif(k.workflow_id, c_nil), k.task, k.producer_id, e.sequence, e.type,
           case when e.size >= 0 then substring(p_payload from e.start for e.size) end, e.is_text,
           e.timestamp_ms, v_recorded, case when e.trace > 0 then substring(p_traces from 25 * e.trace - 24 for 25) end
      from unnest(e_key, e_sequence, e_type, e_timestamp, e_start, e_size, e_is_text, v_decisions, v_offsets, e_trace)
           as e(key, sequence, type, timestamp_ms, start, size, is_text, decision, o, trace)
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
