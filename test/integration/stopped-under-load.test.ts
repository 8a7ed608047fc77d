import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import type { ArrayInfo, CreateData, Mapping } from "../../src/daemon/control-api.ts";
import { Host } from "../support/daemons.ts";

const MIB = 1024 * 1024;
const MEMBER_BYTES = 32 * MIB;
const BLOCK = 4096;
/** What both nodes write, one after the other. */
const REGION = 4 * MIB;
const WRITERS = 8;
const CREATE = ["create", "md0", "--level=1", "--cluster", "--bitmap-chunk=64K", "--file-members", "--assume-clean"];
/** Longer than the lease in any case; 60 to stand still as long as the specification says. */
const stopSeconds = Number(process.env["MDCTL_TEST_STOP_SECONDS"] ?? 0);

/** Writes blocks all over the region, as fast as they are answered, until the connection ends. */
class Load {
  answered = 0;
  #enough: () => void = () => {};
  readonly ended: Promise<unknown>;

  constructor(client: NbdClient, fill: number) {
    const block = Buffer.alloc(BLOCK, fill);
    const writer = async (first: number): Promise<void> => {
      for (let n = first; ; n = (n + WRITERS) % (REGION / BLOCK)) {
        await client.write(n * BLOCK, block);
        this.answered++;
        this.#enough();
      }
    };
    this.ended = Promise.allSettled(Array.from({ length: WRITERS }, (_, i) => writer(i)));
  }

  async reaches(count: number): Promise<void> {
    while (this.answered < count) {
      await new Promise<void>((resolve) => {
        this.#enough = resolve;
      });
    }
  }
}

describe("F05: a daemon that is stopped for longer than its lease under a load of writes, and goes on", () => {
  let host: Host;
  afterEach(() => host.close());

  const uriOf = async (node: string): Promise<string> =>
    (await host.data<{ mapping: Mapping }>(node, "map", "md0")).mapping.uri;

  it("writes nothing to any member any more", { timeout: (120 + stopSeconds) * 1000 }, async () => {
    host = new Host({ lease: "1s" });
    await Promise.all([host.start("n1"), host.start("n2")]);
    const members = ["a.img", "b.img"].map((name) => host.memberFile(name, MEMBER_BYTES));
    const { array } = await host.data<CreateData>("n1", ...CREATE, ...members);
    await host.data("n2", "assemble", "md0", ...members);

    const victim = new Load(await NbdClient.connect(await uriOf("n1")), 0xa1);
    await victim.reaches(500);
    process.kill(host.pidOf("n1"), "SIGSTOP");
    const stopped = pause(stopSeconds * 1000);
    await host.event("n2", ({ event, array: name }) => event === "TAKEOVER" && name === "md0");
    await host.data("n2", "wait", "md0");

    // The survivor overwrites all that the stopped node's clients still wait to have written.
    const survivor = await NbdClient.connect(await uriOf("n2"));
    const fresh = Buffer.alloc(MIB, 0xb2);
    for (let at = 0; at < REGION; at += MIB) await survivor.write(at, fresh, { fua: true });
    await stopped;
    const before = members.map((path) => state(path, array));

    const answeredBefore = victim.answered;
    process.kill(host.pidOf("n1"), "SIGCONT");
    await host.event("n1", ({ event, array: name }) => event === "FENCED" && name === "md0");
    expect(members.map((path) => state(path, array))).toEqual(before);
    // What had reached the members before may still be answered.
    expect(victim.answered - answeredBefore).toBeLessThanOrEqual(WRITERS);
    // Whatever it may still have had on its way is on disk when its process is gone.
    await host.end("n1", "SIGKILL");
    await victim.ended;
    expect(members.map((path) => state(path, array))).toEqual(before);
    expect(before.map(({ stale }) => stale)).toEqual([0, 0]);
    await survivor.close();
  });
});

/** What a member holds of the data, of the stopped node's bitmap (slot 0) and of its takeover records. */
function state(path: string, array: ArrayInfo | null): { data: string; bitmap: string; stale: number } {
  const bytes = readFileSync(path);
  const dataAt = array?.dataOffsetBytes ?? 0;
  const hash = (from: number, to: number): string =>
    createHash("sha256").update(bytes.subarray(from, to)).digest("hex");
  const region = bytes.subarray(dataAt, dataAt + REGION);
  return {
    data: hash(dataAt, bytes.length),
    bitmap: hash(8192, 8192 + 4096),
    stale: region.filter((byte) => byte !== 0xb2).length,
  };
}
