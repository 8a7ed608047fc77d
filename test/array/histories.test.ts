import { describe, expect, it } from "vitest";
import { sector } from "../../src/base/units.ts";
import {
  Feature,
  hasFeature,
  isActiveRole,
  ownRole,
  ROLE_FAULTY,
  roleOf,
  type Superblock,
} from "../../src/superblock/superblock.ts";
import { begin, type Disk, type Picked, pick, successors, type World } from "../support/histories.ts";
import { keyOf, seenAs } from "../support/history-keys.ts";
import { DISK_SECTORS, deviceUuid, planFor } from "./example.ts";

/** All histories of a small array up to so many events; what can be told apart of what is on disk, once each. */
interface Case {
  readonly level: 1 | 10;
  readonly members: number;
  readonly spares: number;
  readonly events: number;
}

/** One set of superblocks that somebody who assembles may find. */
interface Finding {
  readonly disks: readonly Disk[];
  readonly visible: readonly number[];
  readonly picked: Picked;
  /** A history in which they were written apart: some of the copies have writes that others lack, and the reverse. */
  apart: World | null;
  /** One without; best one in which nobody said `--run`. */
  together: World | null;
}

const planOf = ({ level, members, spares }: Case) =>
  planFor(
    Array.from({ length: members }, () => ({ size: sector(DISK_SECTORS) })),
    {
      level,
      spares: Array.from({ length: spares }, (_, i) => {
        const number = members + i;
        return { path: `/dev/${number}`, size: sector(DISK_SECTORS), deviceUuid: deviceUuid(number) };
      }),
      ...(level === 10 ? { layout: 0x102, stripeBytes: 4096 } : {}),
    },
  );

function explore(what: Case): readonly Finding[] {
  const plan = planOf(what);
  const known = new Set<string>();
  const findings = new Map<string, Finding>();
  let frontier: readonly World[] = [begin(plan)];
  for (let events = 0; events <= what.events; events++) {
    const next: World[] = [];
    for (const world of frontier) {
      const key = keyOf(world);
      if (known.has(key)) continue;
      known.add(key);
      lookAt(world, findings);
      if (events < what.events) next.push(...successors(world, plan));
    }
    frontier = next;
  }
  return [...findings.values()];
}

const wasForced = ({ story }: World): boolean => story.some((event) => event.includes("--run"));

function lookAt(world: World, findings: Map<string, Finding>): void {
  const { disks } = world;
  for (let mask = 1; mask < 2 ** disks.length; mask++) {
    const visible = disks.flatMap((_, disk) => (((mask >> disk) & 1) === 1 ? [disk] : []));
    const key = seenAs(disks, visible);
    let finding = findings.get(key);
    if (finding === undefined) {
      finding = { disks, visible, picked: pick(disks, visible, false), apart: null, together: null };
      findings.set(key, finding);
    }
    const copies = visible.flatMap((disk) => disks[disk]?.data ?? []);
    const isApart = copies.some((one) => copies.some((other) => !one.startsWith(other) && !other.startsWith(one)));
    if (isApart) finding.apart ??= world;
    else if (finding.together === null || wasForced(finding.together)) finding.together = world;
  }
}

const text = ({ visible, picked }: Finding, world: World): string =>
  [...world.story, `look at ${visible.join(" ")}`, "error" in picked ? picked.error.message : "accepted"].join("; ");

const isConflict = (picked: Picked): boolean => "error" in picked && picked.error.code === "E_CLUSTER_CONFLICT";

/** By disk: in_sync, rebuilding, spare; not at all if it is not used. */
function rolesPicked(picked: Picked): ReadonlyMap<number, string> {
  if ("error" in picked) return new Map();
  return new Map(picked.choice.used.map(({ candidate, role }) => [candidate.disk, role.type]));
}

/** What mdadm and the kernel make of the same (on-disk format, 15.1 and 15.2), written without a look at ours. */
function asLinux(found: readonly Superblock[]): readonly string[] {
  const freshest = found
    .filter((superblock) => isActiveRole(ownRole(superblock)))
    .reduce((best, superblock) => (superblock.events > best.events ? superblock : best));
  return found.map((superblock) => {
    if (superblock.events + 1 < freshest.events) return "no";
    const isOld = superblock.events < freshest.events;
    const role = isOld ? roleOf(freshest, superblock.devNumber) : ownRole(superblock);
    if (role === ROLE_FAULTY) return "no";
    if (!isActiveRole(role)) return "spare";
    return hasFeature(superblock, Feature.recoveryOffset) ? "rebuilding" : "in_sync";
  });
}

/** How many updates with the highest number there are. */
function newestTables(found: readonly Superblock[]): number {
  const active = found.filter((superblock) => isActiveRole(ownRole(superblock)));
  const most = Math.max(...active.map(({ events }) => events));
  return new Set(active.filter(({ events }) => events === most).map(({ devRoles }) => devRoles.join())).size;
}

/** Of a device that we take for something else than Linux does: why. */
function whatIsIt({ disks, visible, picked }: Finding, i: number): string {
  const disk = visible[i] ?? -1;
  const superblock = disks[disk]?.superblock;
  if ("error" in picked || superblock === undefined) return "nothing";
  const { freshest, used } = picked.choice;
  const role = used.find(({ candidate }) => candidate.disk === disk)?.role;
  if (role?.type === "rebuilding" && role.isReplacement) return "replacement";
  const isTwice = visible.some(
    (other) => other !== disk && disks[other]?.superblock.devNumber === superblock.devNumber,
  );
  if (isTwice) return "its number is another's";
  const known = roleOf(freshest.superblock, superblock.devNumber);
  if (isActiveRole(ownRole(superblock)))
    return isActiveRole(known) ? "listed by the freshest" : "forgotten by the freshest";
  return isActiveRole(known)
    ? "activated by an update that did not reach it"
    : "a spare that the freshest calls faulty";
}

/** See decisions 7 and 31. */
const allowed = [
  // Whole, but who is replaced has not been told to go.
  "replacement: in_sync -> rebuilding",
  "activated by an update that did not reach it: in_sync -> rebuilding",
  "forgotten by the freshest: spare -> no",
  // With the same event count; Linux believes the spare.
  "a spare that the freshest calls faulty: spare -> no",
  "its number is another's: in_sync -> no",
  "its number is another's: rebuilding -> no",
  "its number is another's: spare -> no",
];

const cases: readonly Case[] = [
  { level: 1, members: 2, spares: 0, events: 6 },
  { level: 1, members: 2, spares: 1, events: 3 },
  { level: 1, members: 2, spares: 2, events: 2 },
  { level: 1, members: 3, spares: 0, events: 3 },
  { level: 1, members: 3, spares: 1, events: 1 },
  { level: 1, members: 4, spares: 0, events: 1 },
  { level: 10, members: 3, spares: 0, events: 3 },
  { level: 10, members: 4, spares: 0, events: 2 },
];

/**
 * Events: a member fails, is removed, comes back, is added; spares are taken, members are replaced, rebuilt; the array is
 * assembled from some of the disks, without or with `--run` or `--force`; each of them cut short after any of its writes.
 * In between the array is written to. `successors` throws if copies that differ, or that are none, are taken for copies,
 * if newer data is passed over, or if a re-add relies on bitmaps that do not know all that the device lacks.
 */
describe.each(cases)("level $level, $members members and $spares spares, $events events", (what) => {
  const findings = explore(what);
  // Of three members with two copies of everything any two share one.
  const canPart = what.level === 1 || what.members > 3;

  it("refuses what was written apart, whatever of it is here", () => {
    const accepted = findings.flatMap((finding) =>
      finding.apart !== null && !("error" in finding.picked) ? [text(finding, finding.apart)] : [],
    );
    expect(accepted).toEqual([]);
    expect(findings.some(({ apart, picked }) => apart !== null && isConflict(picked))).toBe(what.events > 1 && canPart);
  });

  it("refuses no single history, unless somebody went on without a member that nobody had recorded as gone", () => {
    const refused = findings.flatMap((finding) => {
      const { apart, together, picked, disks, visible } = finding;
      if (apart !== null || together === null || wasForced(together) || !isConflict(picked)) return [];
      // It would not start either way: no full copy is here.
      const forced = pick(disks, visible, true);
      return isConflict(forced) || "choice" in forced ? [text(finding, together)] : [];
    });
    expect(refused).toEqual([]);
  });

  it("chooses as Linux does, but where that would take what is no copy for one", () => {
    const differences = new Set<string>();
    for (const finding of findings) {
      const { disks, visible, picked } = finding;
      const found = visible.flatMap((disk) => disks[disk]?.superblock ?? []);
      // Of two updates with one number Linux takes the one that it reads first.
      if ("error" in picked || newestTables(found) > 1) continue;
      const roles = rolesPicked(picked);
      for (const [i, linux] of asLinux(found).entries()) {
        const ours = roles.get(visible[i] ?? -1) ?? "no";
        if (ours !== linux) differences.add(`${whatIsIt(finding, i)}: ${linux} -> ${ours}`);
      }
    }
    expect([...differences].filter((difference) => !allowed.includes(difference))).toEqual([]);
  });

  it("does not depend on the order of devices, nor on --force where nothing contradicts", () => {
    for (const { disks, visible, picked } of findings) {
      const roles = rolesPicked(picked);
      expect(rolesPicked(pick(disks, [...visible].reverse(), false))).toEqual(roles);
      if (!isConflict(picked)) expect(rolesPicked(pick(disks, visible, true))).toEqual(roles);
    }
  });
});
