/** The plain course of every kind of call, in every way to call: answers, headers, trailers, what the server saw. */
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { type Heard, listen, type OrderInit, Speaker } from "./calls.ts";
import { combinations, createCaller } from "./combinations.ts";
import { useStack } from "./stack.ts";

const stack = useStack();

const fields: OrderInit = {
  headers: [{ name: "x-drill-header", values: ["of the answer"] }],
  trailers: [{ name: "x-drill-trailer", values: ["at its end"] }],
};
const asked = { headers: { "x-drill-asked": "by the client" } };

describe.each(combinations)("$name", (combination) => {
  const caller = createCaller(stack, combination);

  function expectWhole({ answers, header, trailer, error }: Heard): void {
    expect(error).toBeUndefined();
    expect(answers.map(({ number }) => number)).toEqual(answers.map((_, index) => index + 1));
    for (const answer of answers) {
      expect(answer).toMatchObject({ protocol: combination.protocol, httpMethod: "POST" });
      expect(answer.headers).toMatchObject(asked.headers);
      expect(answer.timeoutMs).toBeUndefined();
    }
    expect(header.get("x-drill-header")).toBe("of the answer");
    expect(trailer.get("x-drill-trailer")).toBe("at its end");
    expect(header.get("x-drill-trailer")).toBeNull();
    expect(trailer.get("x-drill-header")).toBeNull();
  }

  test("a unary call is answered, with headers and trailers", async () => {
    const order = { note: "one", filler: new Uint8Array(3), answerBytes: 5, ...fields };
    const heard = await listen(caller, "ask", [order], asked);
    expectWhole(heard);
    expect(heard.answers).toMatchObject([{ notes: ["one"], bytes: 3, filler: new Uint8Array(5).fill(7) }]);
  });

  test("a client stream is read to its end and answered once", async () => {
    const heard = await listen(
      caller,
      "collect",
      [{ note: "a", ...fields }, { note: "b" }, { note: "c" }],
      asked,
    );
    expectWhole(heard);
    expect(heard.answers).toMatchObject([{ notes: ["a", "b", "c"] }]);
  });

  test("a client stream without a message is answered", async () => {
    const { answers, error } = await listen(caller, "collect", []);
    expect(error).toBeUndefined();
    expect(answers).toMatchObject([{ number: 1, notes: [] }]);
  });

  test("a server stream gives all its answers, in order", async () => {
    const heard = await listen(
      caller,
      "recite",
      [{ note: "s", answers: 12, answerBytes: 2, ...fields }],
      asked,
    );
    expectWhole(heard);
    expect(heard.answers).toHaveLength(12);
    expect(heard.answers[0]?.notes).toEqual(["s"]);
  });

  test("a server stream without an answer ends well, with headers and trailers", async () => {
    const heard = await listen(caller, "recite", [{ ...fields }], asked);
    expectWhole(heard);
    expect(heard.answers).toEqual([]);
  });

  test("a method that is not there is UNIMPLEMENTED", async () => {
    await expect(caller.client.missing({})).rejects.toMatchObject({ code: Code.Unimplemented });
  });

  if (!caller.isDuplex) {
    test("a bidirectional stream is refused: HTTP/1.1 cannot carry it", async () => {
      const { answers, error } = await listen(caller, "converse", [{ answers: 1 }]);
      expect(answers).toEqual([]);
      expect(error).toBeDefined();
    });
    return;
  }

  test("a bidirectional stream answers after the last order", async () => {
    const heard = await listen(
      caller,
      "converse",
      [{ note: "a", answers: 2, ...fields }, { note: "b" }],
      asked,
    );
    expectWhole(heard);
    expect(heard.answers).toMatchObject([{ notes: ["a", "b"] }, { notes: [] }]);
  });

  test("a bidirectional stream answers each order before the next one is sent", async () => {
    const speaker = new Speaker();
    const heard: Heard["answers"] = [];
    speaker.say({ note: "turn 1", inTurns: true, ...fields });
    const whole = await listen(caller, "converse", speaker, asked, (answer) => {
      heard.push(answer);
      if (heard.length < 4) speaker.say({ note: `turn ${heard.length + 1}` });
      else speaker.close();
    });
    expectWhole(whole);
    expect(heard.map(({ notes }) => notes)).toEqual([["turn 1"], ["turn 2"], ["turn 3"], ["turn 4"]]);
  });

  test("a bidirectional stream without an order ends well", async () => {
    expect(await listen(caller, "converse", [])).toMatchObject({ answers: [], error: undefined });
  });

  test("a bidirectional stream without an answer ends well, with headers and trailers", async () => {
    const heard = await listen(caller, "converse", [{ note: "a", ...fields }, { note: "b" }], asked);
    expectWhole(heard);
    expect(heard.answers).toEqual([]);
  });

  test("a server that has enough ends the call while the client still sends", async () => {
    const speaker = new Speaker();
    speaker.say({ note: "1", enough: 2, answers: 1 });
    speaker.say({ note: "2" });
    const heard = await listen(caller, "converse", speaker, {}, () => speaker.say({ note: "too late" }));
    expect(heard).toMatchObject({ answers: [{ notes: ["1", "2"] }], error: undefined });
    speaker.close();
  });
});
