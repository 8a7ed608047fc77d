import { MdError } from "../base/md-error.ts";
import type { Access } from "../cluster/safe-mode.ts";
import type { FileSetting } from "./config-file.ts";
import { nameOf, uuidOf } from "./find-array.ts";

/** What a SYSFS line sets for one array, in md's words. */
export interface ArrayTuning {
  /** KiB per second of a resync; 0 as the most: no limit. */
  readonly syncSpeedMin?: number;
  readonly syncSpeedMax?: number;
  readonly safeModeDelayMs?: number;
  readonly access?: Access;
}

export interface TunedArray {
  readonly name: string | null;
  /** md notation. */
  readonly uuid: string | null;
  readonly tuning: ArrayTuning;
}

const attributes: Readonly<Record<string, (value: string) => ArrayTuning | null>> = {
  sync_speed_min: (value) => ofNumber(value, 1, (syncSpeedMin) => ({ syncSpeedMin })),
  sync_speed_max: (value) => ofNumber(value, 1, (syncSpeedMax) => ({ syncSpeedMax })),
  safe_mode_delay: (value) => ofNumber(value, 1000, (ms) => ({ safeModeDelayMs: Math.round(ms) })),
  array_state: (value) => {
    if (value === "readonly" || value === "read-auto") return { access: value };
    return value === "clean" || value === "active" ? { access: "read-write" } : null;
  },
};

/** Of a line of mdadm.conf: `SYSFS name=md0 sync_speed_max=20000 safe_mode_delay=0.5`. E_VALUE names file and line. */
export function readTuning({ text, at }: FileSetting): TunedArray {
  const refuse = (what: string): MdError =>
    new MdError("E_VALUE", `${at}: SYSFS: ${what}`, {
      why: `it takes name=, uuid=, ${Object.keys(attributes).join("=, ")}=`,
    });
  let name: string | null = null;
  let uuid: string | null = null;
  let tuning: ArrayTuning = {};
  for (const word of text.split(" ")) {
    const [, key = "", value = ""] = /^([^=]*)=(.*)$/.exec(word) ?? [];
    if (key === "name") name = nameOf(value);
    else if (key === "uuid") {
      uuid = uuidOf(value);
      if (uuid === null) throw refuse(`"${value}" is no UUID`);
    } else if (Object.hasOwn(attributes, key)) {
      const set = attributes[key]?.(value) ?? null;
      if (set === null) throw refuse(`${key}= takes no "${value}"`);
      tuning = { ...tuning, ...set };
    } else throw refuse(`it knows no "${word}"`);
  }
  if (name === null && uuid === null) throw refuse("no array is named");
  return { name, uuid, tuning };
}

function ofNumber(value: string, factor: number, make: (number: number) => ArrayTuning): ArrayTuning | null {
  return /^\d{1,9}(\.\d{1,3})?$/.test(value) ? make(Number(value) * factor) : null;
}

/** What all lines together say of this array: the last one counts, as for mdadm, which sets one after the other. */
export function tuningOf(lines: readonly TunedArray[], array: { name: string; uuid: string }): ArrayTuning {
  const ours = lines.filter(
    ({ name, uuid }) => (uuid ?? array.uuid) === array.uuid && (name ?? array.name) === array.name,
  );
  return Object.assign({}, ...ours.map(({ tuning }) => tuning)) as ArrayTuning;
}
