import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString, writeHeapSnapshot } from "node:v8";
import { runInNewContext } from "node:vm";
import { tempDir } from "./temp-dir.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

interface Snapshot {
  readonly snapshot: {
    readonly meta: {
      readonly node_fields: readonly string[];
      readonly node_types: readonly [readonly string[], ...unknown[]];
    };
  };
  readonly nodes: readonly number[];
  readonly strings: readonly string[];
}

/** What programs make; code and what V8 keeps for itself come and go as it sees fit. */
const COUNTED = ["object", "closure", "native", "regexp", "symbol", "bigint"];

/** How many objects of each kind (constructor or function) can be reached: what nobody refers to is collected first. */
export async function heapKinds(): Promise<ReadonlyMap<string, number>> {
  // What is told of the end of others (finalizers, weak references) lets go of more, a turn later.
  for (let turn = 0; turn < 3; turn++) {
    collectGarbage();
    await nextTurn();
  }
  const folder = tempDir("heap");
  try {
    const { snapshot, nodes, strings } = JSON.parse(
      readFileSync(writeHeapSnapshot(join(folder.path, "1.heapsnapshot")), "utf8"),
    ) as Snapshot;
    const { node_fields: fields, node_types: types } = snapshot.meta;
    const [type, name] = [fields.indexOf("type"), fields.indexOf("name")];
    const kinds = new Map<string, number>();
    for (let at = 0; at < nodes.length; at += fields.length) {
      const of = types[0][nodes[at + type] ?? 0] ?? "";
      if (!COUNTED.includes(of)) continue;
      const kind = `${of} ${strings[nodes[at + name] ?? 0]}`;
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
    return kinds;
  } finally {
    folder.remove();
  }
}
