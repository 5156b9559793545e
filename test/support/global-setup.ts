/** One Postgres for the whole run, and in it a migrated template that every test file's database is a copy of. */
import pg from "pg";
import type { TestProject } from "vitest/node";
import { migrate } from "../../db/migrate.ts";
import { startTestCluster } from "./cluster.ts";

export const template = "tributary_template";

declare module "vitest" {
  interface ProvidedContext {
    clusterUrl: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const cluster = await startTestCluster();
  const client = new pg.Client({ connectionString: cluster.url });
  await client.connect();
  await client.query(`create database ${template}`);
  await client.end();
  const url = new URL(cluster.url);
  url.pathname = `/${template}`;
  await migrate(url.href);
  project.provide("clusterUrl", cluster.url);
  return () => cluster.stop();
}
