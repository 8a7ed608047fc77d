import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A fence agent: a shell script that writes down what it was told, then runs `body`. */
export class FakeAgent {
  readonly path: string;
  readonly #calls: string;

  constructor(folder: string, body: string, name = "fence_fake") {
    this.path = join(folder, name);
    this.#calls = join(folder, `${name}.calls`);
    writeFileSync(this.#calls, "");
    writeFileSync(
      this.path,
      `#!/bin/sh\ninput=$(cat)\nprintf '%s\\n--\\n' "$input" >>'${this.#calls}'\naction=$(printf '%s\\n' "$input" | sed -n 's/^action=//p')\n${body}\n`,
    );
    chmodSync(this.path, 0o755);
  }

  /** What each call was told. */
  get calls(): readonly ReadonlyMap<string, string>[] {
    return readFileSync(this.#calls, "utf8")
      .split("--\n")
      .filter((text) => text.trim() !== "")
      .map(
        (text) =>
          new Map(
            text
              .trim()
              .split("\n")
              .map((line) => line.split("=", 2) as [string, string]),
          ),
      );
  }
}
