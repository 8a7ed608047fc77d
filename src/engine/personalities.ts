import type { ArrayShape, Personality } from "../array/personality.ts";
import { assert } from "../base/assert.ts";
import { MdError } from "../base/md-error.ts";
import { Raid1 } from "../raid1/raid1.ts";
import { Raid10 } from "../raid10/raid10.ts";

type MakePersonality = (shape: ArrayShape) => Personality;

/** By level, as in superblocks. */
export type Personalities = ReadonlyMap<number, MakePersonality>;

export const builtInPersonalities: Personalities = new Map<number, MakePersonality>([
  [1, ({ raidDisks, size }) => new Raid1(raidDisks, size)],
  [10, (shape) => new Raid10(shape)],
]);

/** E_LEVEL_UNSUPPORTED, E_LAYOUT_UNSUPPORTED. */
export function personalityOf(shape: ArrayShape, personalities = builtInPersonalities): Personality {
  const make = personalities.get(shape.level);
  if (make === undefined) throw new MdError("E_LEVEL_UNSUPPORTED", `level ${shape.level} is not supported`);
  const personality = make(shape);
  assert(personality.size === shape.size, `an array of ${shape.size} sectors has ${personality.size} by its shape`);
  return personality;
}
