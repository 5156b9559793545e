/** A run to look at: agents that plan a trip. What they say, when their parts begin, and who is whose child. */
export type Act =
  | { readonly kind: "say"; readonly text: string }
  | {
      readonly kind: "tool";
      readonly name: string;
      readonly args: Readonly<Record<string, unknown>>;
      readonly result: unknown;
      readonly takesMs: number;
    }
  | { readonly kind: "error"; readonly message: string; readonly code: string }
  | { readonly kind: "set"; readonly name: string; readonly value: string | number | boolean }
  | { readonly kind: "output"; readonly text: string }
  | { readonly kind: "start"; readonly part: DemoPart };

export interface DemoPart {
  readonly name: string;
  readonly task: string;
  /** Between two words, ms. */
  readonly paceMs: number;
  readonly acts: readonly Act[];
}

const say = (text: string): Act => ({ kind: "say", text });
const set = (name: string, value: string | number | boolean): Act => ({ kind: "set", name, value });

const translation: DemoPart = {
  name: "translate",
  task: "to-german",
  paceMs: 75,
  acts: [
    say(
      "Tag eins: mit dem Frühzug am Fluss entlang. Wer auf der linken Seite sitzt, sieht die Burgen zuerst. Mittags ein Boot, abends die Altstadt, und überall Brücken. ",
    ),
    say(
      "Tag zwei gehört den Bergen: eine Seilbahn hinauf, ein langer Weg hinab, und unten wartet wieder der Fluss.",
    ),
  ],
};

const writer: DemoPart = {
  name: "write the guide",
  task: "draft",
  paceMs: 60,
  acts: [
    say(
      "Day one follows the water. Take the early train and sit on the left: the castles come into view one after another, and no two of them agree about the style. ",
    ),
    set("draft.words", 30),
    { kind: "start", part: translation },
    say(
      "At noon change to a boat, because a river is best understood from its own point of view. In the evening walk the old town, where every second street ends at a bridge and every bridge at a bakery. ",
    ),
    set("draft.words", 68),
    say(
      "Day two belongs to the hills. Go up by cable car and come down on foot; it takes three hours, and the view does the talking. ",
    ),
    set("draft.words", 92),
    { kind: "output", text: '{"title":"Two days along the river","words":92}' },
  ],
};

const research: DemoPart = {
  name: "research",
  task: "sources",
  paceMs: 45,
  acts: [
    say("Looking for trains and boats that meet. "),
    {
      kind: "tool",
      name: "search_timetable",
      args: { from: "Mainz", to: "Koblenz", on: "Saturday" },
      result: { trains: 14, first: "06:12", scenic: "left side" },
      takesMs: 1400,
    },
    say(
      "Fourteen trains; the one at 06:12 catches the first boat. Checking whether the boats run that early in the year. ",
    ),
    { kind: "error", message: "boats.example answered 503; asking once more in a second", code: "upstream" },
    {
      kind: "tool",
      name: "fetch_boats",
      args: { season: "spring", retry: 1 },
      result: { running: true, every: "90 min" },
      takesMs: 1600,
    },
    set("boats.running", true),
    say("They run, every ninety minutes. The weather decides about the second day. "),
    {
      kind: "tool",
      name: "forecast",
      args: { place: "Koblenz", days: 2 },
      result: { saturday: "sunny", sunday: "light wind" },
      takesMs: 900,
    },
    say("Sunny, then light wind: the cable car will be open on both days."),
  ],
};

const budget: DemoPart = {
  name: "budget",
  task: "estimate",
  paceMs: 70,
  acts: [
    say("Two people, two days. Train 58, boat 64, cable car 36, one night 140, food as it comes. "),
    set("budget.total", 298),
    {
      kind: "tool",
      name: "check_discounts",
      args: { travellers: 2, card: "regional" },
      result: { train: -22 },
      takesMs: 1100,
    },
    set("budget.total", 276),
    say("With the regional card it comes to 276, which leaves room for cake."),
  ],
};

export const plan: DemoPart = {
  name: "plan a river trip",
  task: "coordinator",
  paceMs: 65,
  acts: [
    set("status.phase", "researching"),
    say(
      "Two days, one river, no car. I will ask one agent for connections, one for the costs, and as soon as they agree a third one writes it down. ",
    ),
    { kind: "start", part: research },
    say("Everything they say arrives here in one order, each word once, whoever joins later. "),
    { kind: "start", part: budget },
    say("The connections look good so far; the writer may begin before the numbers are final. "),
    set("status.phase", "writing"),
    { kind: "start", part: writer },
    say(
      "The translator works from the draft while it is still being written: a child of a child, started late, and you have not missed it. ",
    ),
    set("status.phase", "waiting for the translation"),
  ],
};
