import type { Widgets } from "blessed";
import { frame } from "./frame.ts";
import type { DashboardState } from "./view-model.ts";

const REDRAW_MS = 100;

/** State words in colour; the colour is never the only signal. */
const colours: readonly (readonly [RegExp, string])[] = [
  [/\[OK\]/g, "green-fg"],
  [/\[>>\]/g, "blue-fg"],
  [/\[!!\]/g, "yellow-fg"],
  [/\[XX\]/g, "red-fg"],
  [/\[\.\.\]/g, "cyan-fg"],
  [/\bFROZEN\b/g, "magenta-fg"],
];

/**
 * Paints frames on a terminal with blessed, until `q`, Ctrl-C or `close`. The terminal is restored however it ends.
 * blessed is loaded here and not before, because it touches the terminal as soon as it is.
 */
export class Screen {
  readonly #screen: Widgets.Screen;
  readonly #box: Widgets.BoxElement;
  readonly #snapshot: (now: number) => DashboardState;
  #selected = 0;
  #paused = false;
  #pending: NodeJS.Timeout | null = null;
  readonly closed: Promise<void>;

  static async open(snapshot: (now: number) => DashboardState, colour: boolean): Promise<Screen> {
    // Without it blessed draws lines through the alternate character set, which a text capture shows as letters.
    process.env["NCURSES_NO_UTF8_ACS"] ??= "1";
    const blessed = (await import("blessed")).default;
    const screen = blessed.screen({ smartCSR: true, title: "mdctl", fullUnicode: false });
    const box = blessed.box({ parent: screen, top: 0, left: 0, width: "100%", height: "100%", tags: true });
    return new Screen(screen, box, snapshot, colour);
  }

  private constructor(
    screen: Widgets.Screen,
    box: Widgets.BoxElement,
    snapshot: (now: number) => DashboardState,
    colour: boolean,
  ) {
    this.#screen = screen;
    this.#box = box;
    this.#snapshot = snapshot;
    this.#colour = colour;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    screen.key(["q", "C-c"], () => this.close());
    screen.key(["up", "k"], () => this.#select(-1));
    screen.key(["down", "j"], () => this.#select(1));
    screen.key(["p", "space"], () => {
      this.#paused = !this.#paused;
      this.#paint();
    });
    screen.key(["r"], () => {
      screen.realloc();
      this.#paint();
    });
    screen.on("resize", () => this.#paint());
    this.#clock = setInterval(() => this.changed(), 1000);
    this.#paint();
  }

  readonly #colour: boolean;
  readonly #clock: NodeJS.Timeout;
  #resolveClosed: () => void = () => {};

  /** There is something new to show; drawn soon, at most ten times a second. */
  changed(): void {
    if (this.#pending !== null || this.#paused) return;
    this.#pending = setTimeout(() => {
      this.#pending = null;
      this.#paint();
    }, REDRAW_MS);
  }

  close(): void {
    clearInterval(this.#clock);
    if (this.#pending !== null) clearTimeout(this.#pending);
    this.#screen.destroy();
    this.#resolveClosed();
  }

  #select(by: number): void {
    const arrays = this.#snapshot(0).status?.arrays.length ?? 0;
    this.#selected = Math.min(Math.max(0, this.#selected + by), Math.max(0, arrays - 1));
    this.#paint();
  }

  #paint(): void {
    const size = { columns: Number(this.#screen.width), rows: Number(this.#screen.height) };
    const lines = frame(this.#snapshot(Date.now()), { ...size, selected: this.#selected });
    if (this.#paused) lines[0] = ` PAUSED ${lines[0] ?? ""}`.slice(0, size.columns);
    this.#box.setContent(this.#colour ? lines.map(coloured).join("\n") : lines.map(escaped).join("\n"));
    this.#screen.render();
  }
}

/** blessed takes braces for markup. */
const escaped = (line: string): string => line.replace(/[{}]/g, (brace) => (brace === "{" ? "{open}" : "{close}"));

function coloured(line: string): string {
  let text = escaped(line);
  for (const [mark, colour] of colours) text = text.replace(mark, (word) => `{${colour}}${word}{/${colour}}`);
  return text;
}
