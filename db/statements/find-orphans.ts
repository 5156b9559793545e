/**
 * What would break the references and orders that `event` has no constraints for (see db/schema.ts): empty when all is
 * well. Run by the tests' teardown, and worth a run after a restore.
 */
import type { Queryable } from "../pool.ts";

export async function findOrphans(db: Queryable): Promise<string[]> {
  const { rows } = await db.query(`
    select 'event without stream: ' || e.stream_id || ' ' || e."offset" as problem
      from event e where not exists (select from stream s where s.stream_id = e.stream_id)
    union all
    select 'event without workflow of its stream: ' || e.stream_id || ' ' || e."offset"
      from event e where e.workflow_id is not null
       and not exists (select from workflow w where w.workflow_id = e.workflow_id and w.stream_id = e.stream_id)
    union all
    select 'event of a tree without workflow: ' || e.stream_id || ' ' || e."offset"
      from event e join stream s using (stream_id) where e.workflow_id is null and s.kind = 1
    union all
    select 'stream of a space without its space, or of another tenant: ' || coalesce(s.stream_id, m.stream_id)
      from (select * from stream where kind = 2) s full join memory_space m using (stream_id)
     where s.tenant_slug is distinct from m.tenant_slug
    union all
    select 'observation without its entry, or entry without its observation: ' || stream_id || ' ' || "offset"
      from (select stream_id, "offset", session_id::text as session_id from observation) o
      full join (select stream_id, "offset", producer_id, payload from event where type = 40) e using (stream_id, "offset")
     where o.session_id is distinct from e.producer_id or e.payload is null
    union all
    select 'variable that is not what the newest entry about it says: ' || workflow_id || ' ' || name
      from (select workflow_id, v.name, v."offset", version, deleted, coalesce(floor_offset, 0) as floor
              from variable v join workflow using (workflow_id) left join stream_floor using (stream_id)) v
      full join (select distinct on (workflow_id, name) workflow_id, change ->> 'name' as name, "offset", type = 31 as deleted,
                        (change ->> 'version')::bigint as version
                   from (select *, convert_from(payload, 'UTF8')::json as change from event where type in (30, 31)) as e
                  order by workflow_id, name, "offset" desc) c using (workflow_id, name)
     where (v."offset", v.version, v.deleted) is distinct from (c."offset", c.version, c.deleted)
       and not (c.name is null and v."offset" <= v.floor)
    union all
    select 'hole in the offsets of ' || s.stream_id
      from stream s left join stream_floor f using (stream_id)
      left join event e on e.stream_id = s.stream_id and e."offset" > coalesce(f.floor_offset, 0)
     group by s.stream_id, s.next_offset, f.floor_offset
    having count(e."offset") <> s.next_offset - 1 - coalesce(f.floor_offset, 0)
        or coalesce(max(e."offset"), s.next_offset - 1) <> s.next_offset - 1
    union all
    select 'event after the end of its workflow: ' || e.stream_id || ' ' || e."offset"
      from event e join workflow w using (workflow_id) where e."offset" > w.terminal_offset
    union all
    select 'event after the end of its task: ' || e.stream_id || ' ' || e."offset"
      from event e join task t using (workflow_id, task_execution_id) where e."offset" > t.terminal_offset
    union all
    select 'wrong count of open workflows: ' || w.workflow_id
      from workflow w
     where w.open_in_subtree <> (select count(*) from workflow d where d.stream_id = w.stream_id
                                    and d.path @> array[w.workflow_id] and d.status = 1)
    union all
    select 'wrong end of the subtree: ' || w.workflow_id
      from workflow w
     where w.open_in_subtree = 0
       and w.subtree_final_offset <> (select max(d.terminal_offset) from workflow d
                                       where d.stream_id = w.stream_id and d.path @> array[w.workflow_id])
    union all
    select 'stream over its limit that no sweep will find: ' || s.stream_id
      from stream s
     where s.next_offset - 1 > s.trim_at and not exists (select from retention_due d where d.stream_id = s.stream_id)
    union all
    select 'stream with a limit that it does not know: ' || s.stream_id
      from stream s
      left join workflow w on w.stream_id = s.stream_id and w.parent_workflow_id is null
      left join memory_space m on m.stream_id = s.stream_id
      join tenant t on t.slug = s.tenant_slug
     where (s.trim_at is null) <> (coalesce(m.retention_max_observations, w.retention_max_events, t.retention_events) = 0)
       and not exists (select from retention_due d where d.stream_id = s.stream_id)
       and not exists (select from retention_walk r where r.tenant_slug = s.tenant_slug)
    union all
    select 'ended tree that no sweep will find: ' || w.workflow_id
      from workflow w join stream s using (stream_id) left join stream_floor f using (stream_id)
     where w.parent_workflow_id is null and w.open_in_subtree = 0 and w.retention_max_age_ms is distinct from 0
       and s.next_offset - 1 > coalesce(f.floor_offset, 0)
       and not exists (select from closed_tree c where c.stream_id = w.stream_id)
       and not exists (select from retention_walk r where r.tenant_slug = w.tenant_slug)
    union all
    select 'entry below what was deleted: ' || e.stream_id || ' ' || e."offset"
      from event e join stream_floor f using (stream_id) where e."offset" <= f.deleted_to
    limit 20`);
  return rows.map((row) => row.problem);
}
