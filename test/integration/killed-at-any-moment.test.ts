import { afterAll, beforeAll, expect, it } from "vitest";
import { NbdClient } from "../../src/blockdev/nbd/nbd-client.ts";
import { firstDifference } from "../../src/cli/demo/compare-members.ts";
import { DemoHost } from "../../src/cli/demo/demo-host.ts";
import { BLOCK_BYTES } from "../../src/cli/demo/pattern.ts";
import { VerifyingWriter } from "../../src/cli/demo/verifying-writer.ts";
import type { ArrayInfo, Mapping } from "../../src/daemon/control-api.ts";
import { realRandom } from "../../src/env/real-env.ts";

/** F01 with real processes. `MDCTL_KILLS=50 npx vitest run test/integration/killed-at-any-moment.test.ts` for more. */
const KILLS = Number(process.env["MDCTL_KILLS"] ?? 10);
const MIB = 1024 * 1024;
const MOST_WRITES = 1500;

let host: DemoHost;
let array: ArrayInfo;

beforeAll(async () => {
  host = new DemoHost(null, 64 * MIB);
  await host.startLockServer();
  await host.startNode("n1", "2s");
  const options = ["--level=1", "--cluster", "--bitmap-chunk=64K", "--run", "--file-members", "--no-map"];
  ({ array } = await host.mdctl<{ array: ArrayInfo }>("n1", "create", "md0", ...options, ...host.members));
});

afterAll(() => host.close());

it(`F01 loses no acknowledged block over ${KILLS} kills at random moments, and the mirrors are equal after each resync`, {
  timeout: 30_000 + KILLS * 15_000,
}, async () => {
  const writer = new VerifyingWriter({ firstBlock: 0, blocks: array.sizeBytes / BLOCK_BYTES }, realRandom);
  const areas = host.members.map((path) => ({ path, dataOffsetBytes: array.dataOffsetBytes }));
  for (let kill = 0; kill < KILLS; kill++) {
    const client = await connect();
    const load = writer.run(client, 16, new AbortController().signal);
    await writer.acknowledged(writer.acknowledgedWrites + Math.floor(realRandom.next() * MOST_WRITES));
    await host.kill("n1");
    await load;
    await client.close();

    await host.startNode("n1", "2s");
    await host.mdctl("n1", "assemble", "md0", "--no-map", ...host.members);
    await host.mdctl("n1", "wait", "md0");
    const survivor = await connect();
    expect((await writer.verify(survivor)).wrong, `kill ${kill + 1}`).toEqual([]);
    await survivor.close();
    expect(await firstDifference(areas, array.sizeBytes), `kill ${kill + 1}`).toBeNull();
  }
});

async function connect(): Promise<NbdClient> {
  const { mapping } = await host.mdctl<{ mapping: Mapping }>("n1", "map", "md0");
  return NbdClient.connect(mapping.uri);
}
