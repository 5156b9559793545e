/** All cases, in the order in which they run. */
import type { Case } from "./case.ts";
import { fanOut } from "./fan-out.ts";
import { idleReaders } from "./idle-readers.ts";
import { idleSessions } from "./idle-sessions.ts";
import { instances } from "./instances.ts";
import { latency } from "./latency.ts";
import { multiplex } from "./multiplex.ts";
import { observability } from "./observability.ts";
import { publish } from "./publish.ts";
import { replay } from "./replay.ts";
import { sessions } from "./sessions.ts";
import { slowReader } from "./slow-reader.ts";
import { streams } from "./streams.ts";
import { variables } from "./variables.ts";
import { watchers } from "./watchers.ts";
import { wideTree } from "./wide-tree.ts";

export const cases: readonly Case[] = [
  publish,
  sessions,
  latency,
  fanOut,
  replay,
  idleReaders,
  idleSessions,
  slowReader,
  variables,
  watchers,
  multiplex,
  wideTree,
  streams,
  instances,
  observability,
];
