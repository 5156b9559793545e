/** What the demo's workers write. The times are those of a run at normal pace. */
export interface Part {
  readonly name: string;
  readonly task: string;
  /** How long its worker writes, ms. */
  readonly lastsMs: number;
  readonly text: string;
}

/** Registered before the reader attaches. */
export const guide: Part = {
  name: "river guide",
  task: "outline",
  lastsMs: 2600,
  text: `Plan: follow one river from its spring to the sea. First find out what makes a river, then tell it so that a child would listen, and let somebody carry the story into another language. Each part is written by a worker of its own; all of them flow into this one stream.`,
};

/** Registered before the reader attaches. */
export const research: Part = {
  name: "research",
  task: "reading",
  lastsMs: 5200,
  text: `A river begins as rain that the ground cannot hold. Springs gather into brooks, brooks into streams, and where two of them meet the smaller is called a tributary. The Amazon has more than a thousand, seventeen of them longer than the Rhine. Below each meeting there is one water and one direction: nobody can say any more which drop came from where, and yet none has been lost. Gauges along the banks count what passes. What the gauge has counted stays counted, and whoever comes late can read in the book what flowed by.`,
};

/** Registered only after the reader attached. */
export const writing: Part = {
  name: "writing",
  task: "draft",
  lastsMs: 4600,
  text: `High up between the stones a small brook woke. “Where do I go?” it asked. “Down,” said the stones, who knew only that. So it went down, and met another brook, and then a third, and each time they became one and were a little stronger. They carried leaves, and boats, and once the moon. When a heron fell asleep on the bank and missed half an afternoon, the river did not mind. “Begin where you stopped looking,” it said, and told it everything, in order, twice nothing and nothing left out.`,
};

/** A child of `writing`: a grandchild of the root. */
export const translation: Part = {
  name: "translation",
  task: "german",
  lastsMs: 3600,
  text: `Hoch oben zwischen den Steinen erwachte ein kleiner Bach. „Wohin gehe ich?“, fragte er. „Hinunter“, sagten die Steine, die nur das wussten. Also floss er hinunter, traf einen zweiten Bach und dann einen dritten, und jedes Mal wurden sie einer und ein wenig stärker. Sie trugen Blätter und Boote, und einmal den Mond.`,
};

/** After the reader attached, ms. */
export const writingBeginsMs = 1500;
/** After the writing began, ms. */
export const translationBeginsMs = 1800;

/** Words, each with the space after it, as a model would produce them. */
export const toTokens = (text: string): string[] => text.split(/(?<=\s)/);
