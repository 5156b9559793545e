/** All cases, in the order in which they run. */
import type { Case } from "./case.ts";
import { crowd } from "./crowd.ts";
import { fanOut, fanOutHttp1 } from "./fan-out.ts";
import { growth } from "./growth.ts";
import { idleReaders } from "./idle-readers.ts";
import { idleSessions } from "./idle-sessions.ts";
import { instances } from "./instances.ts";
import { latency } from "./latency.ts";
import { multiplex } from "./multiplex.ts";
import { observability } from "./observability.ts";
import { publish } from "./publish.ts";
import { replay } from "./replay.ts";
import { rollingRestart } from "./rolling-restart.ts";
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
  fanOutHttp1,
  replay,
  crowd,
  idleReaders,
  idleSessions,
  slowReader,
  variables,
  watchers,
  multiplex,
  wideTree,
  streams,
  growth,
  instances,
  rollingRestart,
  observability,
];
