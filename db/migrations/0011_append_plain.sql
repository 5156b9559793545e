-- append_plain stores what most groups are: entries alone, none of which depends on another one, each of which may be stored. It
-- decides by workflow, task and producer and not by entry, so a group of one takes a third and one of 800 half of the time of
-- append (docs/decisions/0021-append-plain.md). A group in which anything else is found is left as it is, for append to judge.
--
-- The locks, their order, and the two steps (lock, then look with a fresh snapshot) are those of append: both may write the
-- same stream at any time, as instances of the previous release do.
create function append_plain(
  -- In rising order, each once, and how many entries each gets.
  p_streams uuid[], p_counts int[],
  k_stream int[], k_workflow uuid[], k_task text[], k_producer text[],
  -- e_rank: how many entries of its stream are before it in this group.
  e_key int[], e_rank int[], e_sequence bigint[], e_type smallint[], e_timestamp bigint[],
  e_start int[], e_size int[], e_is_text boolean[],
  -- One per producer with numbers, which rise: its last entry, its epoch (0: of no session) and its first number. Those of a
  -- session have no hole.
  n_entry int[], n_epoch bigint[], n_first bigint[],
  -- Entries that end their task; no entry after one is of that task.
  t_entry int[],
  -- As in append; no id is twice in one space.
  o_entry int[], o_id text[], o_metadata text[], o_confidence real[], o_importance real[], o_observed bigint[],
  p_payload bytea, e_trace int[], p_traces bytea,
  -- One per stream: offset of its first new entry. null: nothing was stored.
  out first_offsets bigint[], out recorded_ms bigint
) language plpgsql volatile
-- As in append.
set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
  v_first bigint[];
  v_locked uuid[];
  c_nil constant uuid := '00000000-0000-0000-0000-000000000000';
begin
  -- The rows as they are once they are locked: their offsets are no older than the lock.
  select array_agg(next_offset), array_agg(stream_id) into v_first, v_locked
    from (select stream_id, next_offset from stream where stream_id = any (p_streams) order by stream_id for update) as locked;
  if v_locked is distinct from p_streams then
    return; -- one of them was deleted, or they do not come in the order that was promised: the offsets would be others'
  end if;

  recorded_ms := (extract(epoch from clock_timestamp()) * 1000)::bigint;

  if exists (
    select from unnest(k_stream, k_workflow, k_task) as k(stream_no, workflow_id, task)
     where case when k.workflow_id = c_nil
             then (select s.kind from stream s where s.stream_id = p_streams[k.stream_no]) is distinct from 2
             else (select case when w.stream_id = p_streams[k.stream_no] then w.status end
                     from workflow w where w.workflow_id = k.workflow_id) is distinct from 1
               or (select t.terminal_type from task t
                    where t.workflow_id = k.workflow_id and t.task_execution_id = k.task) is not null
           end
  ) then
    return;
  end if;
  if cardinality(n_entry) > 0 and exists (
    select from unnest(n_entry, n_epoch, n_first) as n(entry, epoch, first_sequence)
     where case when n.epoch > 0
             then (select p.last_sequence from producer p
                    where p.stream_id = p_streams[k_stream[e_key[n.entry]]] and p.workflow_id = c_nil
                      and p.producer_id = k_producer[e_key[n.entry]] and p.epoch = n.epoch) is distinct from n.first_sequence - 1
             else (select p.last_sequence from producer p
                    where p.stream_id = p_streams[k_stream[e_key[n.entry]]] and p.workflow_id = k_workflow[e_key[n.entry]]
                      and p.producer_id = k_producer[e_key[n.entry]]) >= n.first_sequence
           end
  ) then
    return;
  end if;
  if cardinality(o_entry) > 0 and exists (
    select from unnest(o_entry, o_id) as o(entry, id)
     where (select x."offset" from observation x
             where x.stream_id = p_streams[k_stream[e_key[o.entry]]] and x.observation_id = o.id) is not null
  ) then
    return;
  end if;

  -- Arrays side by side in the select list: as a table (from unnest) each row of them would be written down first.
  insert into event (stream_id, "offset", workflow_id, task_execution_id, producer_id, sequence, type,
                     payload, payload_is_text, timestamp_ms, recorded_ms, trace_context)
  select p_streams[k_stream[e.key]], v_first[k_stream[e.key]] + e.rank, nullif(k_workflow[e.key], c_nil), k_task[e.key],
         k_producer[e.key], e.sequence, e.type,
         case when e.size >= 0 then substring(p_payload from e.start for e.size) end, e.is_text,
         e.timestamp_ms, recorded_ms, case when e.trace > 0 then substring(p_traces from 25 * e.trace - 24 for 25) end
    from (select unnest(e_key) as key, unnest(e_rank) as rank, unnest(e_sequence) as sequence, unnest(e_type) as type,
                 unnest(e_timestamp) as timestamp_ms, unnest(e_start) as start, unnest(e_size) as size,
                 unnest(e_is_text) as is_text, unnest(e_trace) as trace) as e;

  if cardinality(o_entry) > 0 then
    insert into observation (stream_id, "offset", observation_id, session_id, metadata, confidence, importance,
                             observed_ms, search)
    select p_streams[k_stream[e_key[o.entry]]], v_first[k_stream[e_key[o.entry]]] + e_rank[o.entry], o.id,
           k_producer[e_key[o.entry]]::uuid, o.metadata::jsonb, o.confidence, o.importance, o.observed_ms,
           observation_search(p_streams[k_stream[e_key[o.entry]]], substring(p_payload from e_start[o.entry] for e_size[o.entry]))
      from unnest(o_entry, o_id, o_metadata, o_confidence, o_importance, o_observed)
           as o(entry, id, metadata, confidence, importance, observed_ms);
  end if;

  if 0 = any (n_epoch) then
    insert into producer as p (stream_id, workflow_id, producer_id, last_sequence)
    select p_streams[k_stream[e_key[n.entry]]], k_workflow[e_key[n.entry]], k_producer[e_key[n.entry]], e_sequence[n.entry]
      from unnest(n_entry, n_epoch) as n(entry, epoch)
     where n.epoch = 0
    on conflict (stream_id, workflow_id, producer_id) do update set last_sequence = excluded.last_sequence;
  end if;
  if 0 < any (n_epoch) then
    update producer p
       set last_sequence = e_sequence[n.entry], last_offset = v_first[k_stream[e_key[n.entry]]] + e_rank[n.entry]
      from unnest(n_entry, n_epoch) as n(entry, epoch)
     where n.epoch > 0 and p.stream_id = p_streams[k_stream[e_key[n.entry]]] and p.workflow_id = c_nil
       and p.producer_id = k_producer[e_key[n.entry]];
  end if;

  if cardinality(t_entry) > 0 then
    insert into task (workflow_id, task_execution_id, terminal_type, terminal_offset)
    select k_workflow[e_key[t.entry]], k_task[e_key[t.entry]], e_type[t.entry], v_first[k_stream[e_key[t.entry]]] + e_rank[t.entry]
      from unnest(t_entry) as t(entry);
  end if;

  update stream s set next_offset = s.next_offset + n.entries
    from unnest(p_streams, p_counts) as n(stream_id, entries)
   where s.stream_id = n.stream_id;

  first_offsets := v_first;
end $$;
