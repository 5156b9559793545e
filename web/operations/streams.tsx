/** The streams that are read most on this instance, and how far their slowest readers are behind. */

import type { ReactNode } from "react";
import type { StreamStats } from "../../gen/tributary/v1/admin_service_pb.ts";
import { formatCount, shortId } from "../ui/format.ts";
import { linkTo } from "../ui/route.ts";
import { scrollable } from "../ui/scrollable.ts";

export function Streams({ streams }: { readonly streams: readonly StreamStats[] }): ReactNode {
  return (
    <section className="block" aria-labelledby="streams">
      <h2 id="streams">Streams with readers</h2>
      {streams.length === 0 ? (
        <p className="hint">Nobody reads at this moment.</p>
      ) : (
        <section className="table" {...scrollable} aria-label="Table of streams">
          <table>
            <thead>
              <tr>
                <th scope="col">Stream</th>
                <th scope="col">Readers</th>
                <th scope="col">Tail</th>
                <th scope="col">Slowest behind</th>
                <th scope="col">Delivered</th>
                <th scope="col">Read from Postgres</th>
              </tr>
            </thead>
            <tbody>
              {streams.map((stream) => (
                <tr key={stream.streamId}>
                  <td>
                    {stream.rootWorkflowId === "" ? (
                      `memory ${stream.space}`
                    ) : (
                      <a href={linkTo.tree(stream.rootWorkflowId)}>{shortId(stream.rootWorkflowId)}</a>
                    )}
                  </td>
                  <td>{stream.readers}</td>
                  <td>{formatCount(Number(stream.tailOffset))}</td>
                  <td>{formatCount(Number(stream.slowestReaderLag))}</td>
                  <td>{formatCount(Number(stream.delivered))}</td>
                  <td>{formatCount(Number(stream.storeReads))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  );
}
