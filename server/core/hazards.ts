/**
 * Entries whose fate depends on one another must not share a group: `append` decides a whole group from the state before
 * it. These are: entries that follow an op (a change of lifecycle, session or variables) in its stream; whatever follows a
 * task's terminal event in that task; a producer's number that does not rise; an observation of the same id in the same
 * space. All are rare, so the stream is sealed until the next group. `append` checks it.
 *
 * Ops run after the entries of their group, one after another, each seeing what the last one did: an op may follow
 * anything, so that many changes of variables share a commit.
 */
import type { Command } from "./command.ts";
import { isTaskTerminal, type NewEvent, type ObservationPart } from "./event.ts";

const taskKey = (event: NewEvent) => `${event.workflowId}\n${event.taskExecutionId}`;
const idKey = ({ observationId }: ObservationPart, streamId: string) => `${streamId}\n${observationId}`;

/** What the entries taken so far forbid. */
export class Hazards {
  readonly #closedTasks = new Set<string>();
  /** By workflow, then producer: a joined key for each entry took a tenth of the server's time. */
  readonly #lastSequence = new Map<string, Map<string, number>>();
  readonly #changedStreams = new Set<string>();
  readonly #observations = new Set<string>();

  /** Notes the command; false, and nothing is noted, if it depends on one that was noted before. */
  admit(command: Command): boolean {
    if (command.kind !== "entries") {
      this.#changedStreams.add(command.streamId);
      return true;
    }
    if (this.#changedStreams.has(command.streamId)) return false;
    const { streamId } = command;
    if (command.events.some((event) => this.#dependsOnNoted(event, streamId))) return false;
    for (const event of command.events) this.#note(event, streamId);
    return true;
  }

  /** As `admit`, for a single event, all of one stream. */
  admitEvent(event: NewEvent): boolean {
    if (this.#dependsOnNoted(event)) return false;
    this.#note(event);
    return true;
  }

  #dependsOnNoted(event: NewEvent, streamId = ""): boolean {
    if (event.observation !== undefined && this.#observations.has(idKey(event.observation, streamId)))
      return true;
    if (this.#closedTasks.size > 0 && this.#closedTasks.has(taskKey(event))) return true;
    if (event.producerId === "") return false;
    return event.sequence <= (this.#lastSequence.get(event.workflowId)?.get(event.producerId) ?? -1);
  }

  #note(event: NewEvent, streamId = ""): void {
    if (event.observation !== undefined) this.#observations.add(idKey(event.observation, streamId));
    if (isTaskTerminal(event.type)) this.#closedTasks.add(taskKey(event));
    if (event.producerId === "") return;
    const ofWorkflow = this.#lastSequence.get(event.workflowId);
    if (ofWorkflow !== undefined) ofWorkflow.set(event.producerId, event.sequence);
    else this.#lastSequence.set(event.workflowId, new Map([[event.producerId, event.sequence]]));
  }
}

/** Cuts a list of events of one stream into runs without a hazard inside; nearly always the list as it is. */
export function splitAtHazards(events: readonly NewEvent[]): (readonly NewEvent[])[] {
  const runs: (readonly NewEvent[])[] = [];
  let hazards = new Hazards();
  let start = 0;
  let at = 0;
  for (const event of events) {
    if (!hazards.admitEvent(event)) {
      runs.push(events.slice(start, at));
      start = at;
      hazards = new Hazards();
      hazards.admitEvent(event);
    }
    at++;
  }
  runs.push(start === 0 ? events : events.slice(start));
  return runs;
}
