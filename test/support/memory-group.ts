import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Version 1, where the controller has a tree of its own; version 2, where the tree has the controller. */
const kinds = [
  { root: "/sys/fs/cgroup/memory", limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes" },
  { root: "/sys/fs/cgroup", limit: "memory.max", peak: "memory.peak" },
] as const;

/** A memory cgroup: the kernel kills what is in it when it needs more than `bytes`. */
export class MemoryGroup {
  readonly #path: string;
  readonly #peak: string;

  private constructor(path: string, peak: string) {
    this.#path = path;
    this.#peak = peak;
  }

  /** Null where the machine does not let us have one. */
  static make(name: string, bytes: number): MemoryGroup | null {
    for (const { root, limit, peak } of kinds) {
      const path = join(root, `${name}-${process.pid}`);
      try {
        mkdirSync(path);
      } catch {
        continue;
      }
      const group = new MemoryGroup(path, peak);
      try {
        if (existsSync(join(path, limit))) {
          writeFileSync(join(path, limit), String(bytes));
          return group;
        }
      } catch {
        // Not ours to set.
      }
      group.remove();
    }
    return null;
  }

  /** A command that puts itself into the group and becomes the one that follows. */
  get enter(): readonly string[] {
    return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', join(this.#path, "cgroup.procs")];
  }

  /** The most bytes that were ever in use, caches that could be given back included; null: this kernel does not count it. */
  get peakBytes(): number | null {
    const file = join(this.#path, this.#peak);
    return existsSync(file) ? Number(readFileSync(file, "utf8")) : null;
  }

  /** Its processes have ended. */
  remove(): void {
    rmdirSync(this.#path);
  }
}
