-- Two roles for one database of Tributary. Run it as a superuser, or as the owner of the database who may make roles, connected to that database:
--
--   psql "postgres://postgres@host/tributary" -v ON_ERROR_STOP=1 -f db/roles.sql
--
-- and give them passwords by \password. It may be run again, also on a database that is in use: what is there becomes the
-- migration role's.
--
--   tributary_migrate   owns the tables and functions; for `tributary migrate` alone
--   tributary_service   reads and writes rows, calls functions; for the servers (DATABASE_URL of `tributary serve`)
--
-- What later migrations make is granted by the default privileges below, at once.

do $$
begin
  -- Roles belong to all databases of the server: a second database finds them there.
  if not exists (select from pg_roles where rolname = 'tributary_migrate') then
    create role tributary_migrate login;
  end if;
  if not exists (select from pg_roles where rolname = 'tributary_service') then
    create role tributary_service login;
  end if;
  -- Who is no superuser hands over what a member may: on hosted Postgres.
  if not (select rolsuper from pg_roles where rolname = current_user) then
    execute format('grant tributary_migrate to %I', current_user);
  end if;
  execute format('revoke all on database %I from public', current_database());
  execute format('grant connect, create on database %I to tributary_migrate', current_database());
  execute format('grant connect on database %I to tributary_service', current_database());
end $$;

-- The service finds what is there and makes nothing. The schema `drizzle` is the list of applied migrations: it may read it,
-- to see whether the database is as new as itself.
create schema if not exists drizzle;
alter schema drizzle owner to tributary_migrate;
revoke all on schema public, drizzle from public;
grant usage, create on schema public to tributary_migrate;
grant usage on schema public, drizzle to tributary_service;

-- What will be made.
alter default privileges for role tributary_migrate revoke execute on functions from public;
alter default privileges for role tributary_migrate in schema public
  grant select, insert, update, delete on tables to tributary_service;
alter default privileges for role tributary_migrate in schema public
  grant execute on functions to tributary_service;
alter default privileges for role tributary_migrate in schema drizzle
  grant select on tables to tributary_service;

-- What is there: of a database that a server of one role for all has made. Not what belongs to extensions.
do $$
declare
  v record;
begin
  for v in
    select c.oid::regclass as name
      from pg_class c
     where c.relnamespace in ('public'::regnamespace, 'drizzle'::regnamespace) and c.relkind in ('r', 'p')
       and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
  loop
    execute format('alter table %s owner to tributary_migrate', v.name); -- with its indexes and sequences
  end loop;
  for v in
    select p.oid::regprocedure as name
      from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
       and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
  loop
    execute format('alter function %s owner to tributary_migrate', v.name);
    execute format('revoke all on function %s from public', v.name);
  end loop;
end $$;
grant select, insert, update, delete on all tables in schema public to tributary_service;
grant execute on all functions in schema public to tributary_service;
grant select on all tables in schema drizzle to tributary_service;
