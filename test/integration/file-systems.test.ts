import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { ChangingArray } from "../support/changing-array.ts";
import { emptyFolder, ext4, treeOf, xfs } from "../support/file-systems.ts";
import { haveFuse, withNbdFile } from "../support/nbd-file.ts";

const MIB = 1024 * 1024;
/** What is copied in: this project's sources. */
const FILES = fileURLToPath(new URL("../../src", import.meta.url));

describe.skipIf(!haveFuse()).each([
  ["ext4", ext4, { options: ["--level=1"], members: 3, memberBytes: 32 * MIB }],
  ["xfs", xfs, { options: ["--level=10", "--layout=n2", "--chunk=64K"], members: 4, memberBytes: 20 * MIB }],
] as const)("%s on the export", (_, fileSystem, shape) => {
  let array: ChangingArray;
  afterEach(() => array.close());

  it("is clean, and every file is as it was, while members fail and are replaced", { timeout: 240_000 }, async () => {
    array = await ChangingArray.start({ ...shape, together: [0] });
    const files = treeOf(FILES);
    const uris = [await array.uri("n1"), await array.uri("n2")] as const;
    let changing = true;
    let used = 0;
    const find = async (uri: string): Promise<void> => {
      const scratch = emptyFolder(array.host.folder.path, `read-${used++}`);
      await withNbdFile(uri, async (device) => {
        await fileSystem.check(device);
        expect(await fileSystem.read(device, scratch)).toEqual(files);
      });
    };
    const use = async (): Promise<void> => {
      do {
        const scratch = emptyFolder(array.host.folder.path, `make-${used++}`);
        await withNbdFile(uris[0], (device) => fileSystem.make(device, FILES, scratch));
        // As it is on the other node: no cache of the writer's.
        await find(uris[1]);
      } while (changing);
    };
    const changes = array.changeMembers().finally(() => {
      changing = false;
    });
    await Promise.all([use(), changes]);
    for (const uri of uris) await find(uri);
    expect(await array.judge()).toEqual([]);
  });
});
