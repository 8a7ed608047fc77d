import { afterEach, describe, expect, it, vi } from "vitest";
import { deferred } from "../../src/base/deferred.ts";
import { sector } from "../../src/base/units.ts";
import type { BlockDevice } from "../../src/blockdev/block-device.ts";
import type { IoRing } from "../../src/blockdev/io-ring.ts";
import type { Lock, Lockspace } from "../../src/dlm/lockspace.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { EngineLoop } from "../../src/engine/engine-loop.ts";
import type { EngineAnswer, EngineCommand } from "../../src/engine/engine-protocol.ts";
import { MemberTable } from "../../src/engine/member-table.ts";
import { SuspendList } from "../../src/resync/suspend-list.ts";
import { ROLE_FAULTY, type Superblock } from "../../src/superblock/superblock.ts";
import { decodeSuperblock, encodeSuperblock } from "../../src/superblock/superblock-codec.ts";
import { changed, foundIn } from "./planted.ts";

/** A lock service that lets EX on `token` be held by anybody: to the server it is CR. */
function sharedToken(original: Lockspace): Lockspace {
  /** By the handle that the node has: the real one. */
  const real = new Map<Lock, Lock>();
  const isShared = (lock: Lock, mode: Lock["mode"]): boolean => lock.resource === "token" && mode === "EX";
  return changed(original, {
    open: async (resource, options) => {
      const lock = await original.open(resource, options);
      const handle = changed(lock, {});
      real.set(handle, lock);
      return handle;
    },
    convertAll: async (steps, signal) => {
      const asked = steps.map(({ lock, mode, ...more }) => ({
        ...more,
        lock: real.get(lock) ?? lock,
        mode: isShared(lock, mode) ? ("CR" as const) : mode,
      }));
      const grants = await original.convertAll(asked, signal);
      return grants.map((grant, i) => {
        const step = steps[i];
        const isGranted = step !== undefined && isShared(step.lock, step.mode) && grant.status === "granted";
        return isGranted ? { ...grant, mode: "EX" } : grant;
      });
    },
  });
}

/** A data plane that says of one kind of command that it has done it. */
const liar =
  (type: EngineCommand["type"]) =>
  (original: Engine): Engine =>
    changed(original, {
      send: ((command: EngineCommand) =>
        command.type === type ? Promise.resolve({ type: "none" }) : original.send(command)) as Engine["send"],
    });

/** A lockspace in which locks of some names are not what they seem. */
const changedLocks =
  (isMeant: (resource: string) => boolean, change: (lock: Lock) => Partial<Lock>) =>
  (original: Lockspace): Lockspace =>
    changed(original, {
      open: async (resource, options) => {
        const lock = await original.open(resource, options);
        return isMeant(resource) ? changed(lock, change(lock)) : lock;
      },
    });

/** Members whose superblocks are written otherwise than asked for. */
const changedSuperblocks =
  (change: (superblock: Superblock) => Partial<Superblock>) =>
  (original: BlockDevice): BlockDevice =>
    changed(original, {
      write(at, bytes) {
        let other = bytes;
        try {
          const superblock = decodeSuperblock(bytes, { path: original.path, at, deviceSize: original.size, minor: 2 });
          other = encodeSuperblock({ ...superblock, ...change(superblock) });
        } catch {
          // Something else is written.
        }
        return original.write(at, other);
      },
    });

afterEach(() => {
  vi.restoreAllMocks();
});

// Each test: the checker, then the bug that it is there for, planted between two parts or in one of them.
describe("a planted bug is caught", () => {
  it("one token holder: EX on the token lets others in", async () => {
    const found = await foundIn({ nodes: 3, faults: ["crash"] }, { lockService: sharedToken });
    expect(found).toMatch(/got the token while n\d\.\d+ has it/);
  });

  it("no write in a foreign window: suspended ranges hold nobody up", async () => {
    vi.spyOn(SuspendList.prototype, "blocks").mockReturnValue(false);
    expect(await foundIn({ nodes: 3, faults: ["crash"], pace: [100, 800] }, {})).toMatch(/which n\d\.\d+ copies/);
  });

  it("suspended is what was announced: a node acknowledges and does nothing", async () => {
    const found = await foundIn({ nodes: 3, faults: ["crash"], pace: [100, 800] }, { engine: liar("suspend") });
    expect(found).toMatch(/announced \[\d+, \d+\) in slot \d, all acknowledged it, n\d\.\d+ suspends nothing/);
  });

  it("suspended is what was announced: a node that joins does not look where others copy", async () => {
    const lockspace = changedLocks(
      (resource) => resource.startsWith("bitmap"),
      (lock) => ({
        convert: async (mode, more) => {
          const grant = await lock.convert(mode, more);
          // The window's 16 bytes; the flags say still that there is something to resync.
          if (mode === "CR") grant.lvb?.fill(0, 0, 16);
          return grant;
        },
      }),
    );
    // It copies on when the other is there.
    const gate = deferred<void>();
    const engine = (original: Engine): Engine =>
      changed(original, {
        send: (async (command: EngineCommand) => {
          if (command.type === "copy") await gate.promise;
          return original.send(command);
        }) as Engine["send"],
      });
    const unequal = { nodes: 2, faults: ["crash"], assumeClean: false } as const;
    const found = await foundIn(unequal, { lockspace, engine }, async ({ world, nodes }) => {
      const [first, second] = nodes;
      first?.start();
      await world.run(5000, () => first?.node?.status().sync?.window != null);
      second?.start();
      await world.run(10_000, () => second?.port != null);
      gate.resolve();
    });
    expect(found).toMatch(/suspends nothing for slot \d while n\d\.\d+ has announced/);
  });

  it("every message to everybody: a receiver lets the sender go on without having looked", async () => {
    const lockspace = (original: Lockspace): Lockspace =>
      changed(original, {
        convertAll: async (steps, signal) => {
          const grants = await original.convertAll(steps, signal);
          return grants.map((grant, i) =>
            steps[i]?.lock.resource === "message" && grant.mode === "CR" ? { ...grant, lvbValid: false } : grant,
          );
        },
      });
    const found = await foundIn({ nodes: 2, faults: ["stop"] }, { lockspace });
    expect(found).toMatch(/believes that n\d\.\d+ has processed message \d+/);
  });

  it("events strictly increasing: an update takes the number that there is", async () => {
    const device = changedSuperblocks((superblock) => ({ events: superblock.events - (superblock.events % 2) }));
    const found = await foundIn({ nodes: 2, faults: ["stop"] }, { device });
    expect(found).toMatch(/writes events \d+ to .*, which are used on/);
  });

  it("no write to a faulty member: its failure is forgotten", async () => {
    vi.spyOn(MemberTable.prototype, "takesWrites").mockImplementation(function (this: MemberTable, disk) {
      return this.isOpen(disk);
    });
    const found = await foundIn({ nodes: 2, faults: ["writeErrors"], pace: [100, 300] }, {});
    expect(found).toMatch(/writes \[\d+, \d+\) to \/sim\/d\d, which is faulty to it/);
  });

  it("the last copy is never failed: who fails one member fails all", async () => {
    const device = changedSuperblocks(({ devRoles }) =>
      devRoles.includes(ROLE_FAULTY) ? { devRoles: devRoles.map(() => ROLE_FAULTY) } : {},
    );
    const found = await foundIn({ nodes: 2, faults: ["deadDisk"], pace: [100, 300] }, { device });
    expect(found).toMatch(/some data has no copy/);
  });

  it("bitmaps clean: bits are not cleared", async () => {
    const found = await foundIn({ nodes: 2, faults: ["jumpWall"] }, { engine: liar("flushBitmap") });
    expect(found).toMatch(/slot \d still has chunks/);
  });

  it("mirrors equal: a member loses a write that it took", async () => {
    let writes = 0;
    const ring = (original: IoRing): IoRing =>
      changed(original, {
        write: (device, at, sectors, buffer, flags, tag) => {
          const isLost = sectors === 1 && ++writes % 5 === 0;
          // It lands where nobody looks.
          original.write(device, isLost ? sector(0) : at, sectors, buffer, flags, tag);
        },
      });
    const found = await foundIn({ nodes: 2, faults: ["jumpWall"], reads: 0 }, { ring });
    expect(found).toMatch(/may differ between mirrors|is acknowledged, but/);
  });

  it("no lock left over: the resync lock is kept", async () => {
    const kept = { status: "granted", mode: "NL", lvb: null, lvbValid: true } as const;
    const lockspace = changedLocks(
      (resource) => resource === "resync",
      (lock) => ({ convert: async (mode, more) => (mode === "NL" ? kept : lock.convert(mode, more)) }),
    );
    const found = await foundIn({ nodes: 1, faults: ["crash"] }, { lockspace });
    expect(found).toMatch(/lock left over: resync by slot 0 in EX/);
  });

  it("no request pending: a data plane does what it is told, but does not say so", async () => {
    const silenced = new Set<number>();
    const { take, connect } = EngineLoop.prototype;
    vi.spyOn(EngineLoop.prototype, "take").mockImplementation(function (this: EngineLoop, message) {
      const { id, command } = message;
      // The first is waited for when a node joins; of the others nobody misses the answer.
      if (command.type === "setBalance" && command.balance === "balanced") silenced.add(id);
      take.call(this, message);
    });
    vi.spyOn(EngineLoop.prototype, "connect").mockImplementation(function (this: EngineLoop, post) {
      connect.call(this, (message) => {
        const isSilenced = message.type === "done" && isNone(message.answer) && silenced.delete(message.id);
        if (!isSilenced) post(message);
      });
    });
    const found = await foundIn({ nodes: 2, faults: ["jumpWall"] }, {});
    expect(found).toMatch(/its data plane has not answered \d+ commands/);
  });
});

const isNone = ({ type }: EngineAnswer): boolean => type === "none";
