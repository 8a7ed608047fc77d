import { bitmap, copied, nosync, state } from "../expectations.ts";
import type { NodeName } from "../stage.ts";
import { assemble, create, type Step, shows, until } from "../steps.ts";
import type { Level } from "./levels.ts";

/** The peer's common opening: two equal members, clustered, on all these nodes. */
export const open = ({ shape, shown }: Level, first: NodeName, ...others: readonly NodeName[]): readonly Step[] => [
  create(first, ["d0", "d1"], { ...shape, assumeClean: true }),
  ...others.map((node) => assemble(node, ["d0", "d1"])),
  until([first, ...others], nosync),
  shows([first, ...others], shown, bitmap, state("UU"), copied(0)),
];

/** What nodes complain of when an operator fails a member. */
export const FAILED = ["is faulty on all nodes"];
