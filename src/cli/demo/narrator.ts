/** Tells the story of the demo: numbered steps, at once or (under the dashboard) when it is over. */
export class Narrator {
  readonly #print: (line: string) => void;
  #held: string[] | null;
  #step = 0;
  #title = "";

  constructor(print: (line: string) => void, hold: boolean) {
    this.#print = print;
    this.#held = hold ? [] : null;
  }

  /** The step that is under way, as `step=` of a failure names it. */
  get current(): string {
    return this.#title;
  }

  step(name: string, text: string): void {
    this.#title = name;
    this.#say(`${++this.#step}. ${text}`);
  }

  detail(text: string): void {
    for (const line of text.split("\n")) this.#say(`   ${line}`);
  }

  /** What was held back is told now, and nothing is held any more. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const line of held) this.#print(line);
  }

  last(line: string): void {
    this.release();
    this.#print(line);
  }

  #say(line: string): void {
    if (this.#held === null) this.#print(line);
    else this.#held.push(line);
  }
}
