import { bitmap, copied, nosync, raid1, state } from "../expectations.ts";
import type { NodeName } from "../stage.ts";
import { assemble, create, type Step, shows, until } from "../steps.ts";

/** The peer's common opening: two equal members, clustered, on all these nodes. */
export const open = (first: NodeName, ...others: readonly NodeName[]): readonly Step[] => [
  create(first, ["d0", "d1"], { assumeClean: true }),
  ...others.map((node) => assemble(node, ["d0", "d1"])),
  until([first, ...others], nosync),
  shows([first, ...others], raid1, bitmap, state("UU"), copied(0)),
];

/** What nodes complain of when an operator fails a member. */
export const FAILED = ["is faulty on all nodes"];
