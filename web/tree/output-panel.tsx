/** Everything a workflow's tasks said, as text, with tool calls and errors where they happened. Stays at the end while one is there. */

import { memo, type ReactNode, useLayoutEffect, useRef } from "react";
import { Empty } from "../ui/controls.tsx";
import { formatCount } from "../ui/format.ts";
import { scrollable } from "../ui/scrollable.ts";
import { Status } from "../ui/status.tsx";
import type { TaskNode, WorkflowNode } from "./nodes.ts";
import type { Part } from "./transcript.ts";
import "./output.css";

const nearTheEnd = 40;

export function OutputPanel({ node }: { readonly node: WorkflowNode | undefined }): ReactNode {
  const scroller = useRef<HTMLElement>(null);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (atEnd.current) scroller.current?.scrollTo(0, scroller.current.scrollHeight);
  });
  if (node === undefined)
    return <Empty title="Nothing yet">Events appear as soon as workers write them.</Empty>;
  const follow = () => {
    const { current } = scroller;
    if (current === null) return;
    atEnd.current = current.scrollHeight - current.scrollTop - current.clientHeight < nearTheEnd;
  };
  return (
    <section
      className="output"
      ref={scroller}
      onScroll={follow}
      aria-label={`Output of ${node.name}`}
      {...scrollable}
    >
      {node.tasks.size === 0 ? (
        <Empty title="No task has begun">What its tasks write appears here.</Empty>
      ) : null}
      {[...node.tasks.values()].map((task) => (
        <Task key={task.id} task={task} />
      ))}
      {node.cancelReason === undefined ? null : (
        <p className="note warn">
          <b>asked to stop</b> {node.cancelReason}
        </p>
      )}
      {node.outcome === "" ? null : (
        <p className="note">
          <b>ended with</b> <code>{node.outcome}</code>
        </p>
      )}
    </section>
  );
}

function Task({ task }: { readonly task: TaskNode }): ReactNode {
  const { transcript } = task;
  return (
    <article>
      <h3>
        <code>{task.id}</code> <Status status={task.status} />
        <small>
          {formatCount(task.tokens)} tokens{task.details === "" ? "" : ` · ${task.details}`}
        </small>
      </h3>
      {transcript.dropped === 0 ? null : (
        <p className="note">{formatCount(transcript.dropped)} earlier characters are not kept here</p>
      )}
      <div className="transcript">
        {transcript.parts.map((part) => (
          <PartView key={part.id} part={part} size={sizeOf(part)} />
        ))}
      </div>
    </article>
  );
}

/** What moves when a part changes: the objects stay the same. */
const sizeOf = (part: Part): number =>
  part.kind === "text" ? part.text.length : part.kind === "tool" ? (part.result?.length ?? -1) : 0;

const PartView = memo(function PartView({ part }: { readonly part: Part; readonly size: number }): ReactNode {
  if (part.kind === "text") return <span className="text">{part.text}</span>;
  if (part.kind === "note") {
    return (
      <p className={`note ${part.tone}`}>
        <b>{part.label}</b> {part.text}
      </p>
    );
  }
  return (
    <div className="tool">
      <p>
        <b>⚙ {part.name}</b> <code>{part.args}</code>
      </p>
      <p className="result">
        {part.result === undefined ? <em>waiting for the result…</em> : <code>→ {part.result}</code>}
      </p>
    </div>
  );
});
