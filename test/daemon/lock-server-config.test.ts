import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { readLockServer } from "../../src/daemon/lock-server-config.ts";
import type { RedisFiles } from "../../src/dlm/redis/redis-url.ts";
import { tempDir } from "../support/temp-dir.ts";

const folder = tempDir("lock-server-config");
afterAll(() => folder.remove());

const none: RedisFiles = { password: null, ca: null, cert: null, key: null };
const read = (text: string | null, more: { exposedBy?: string; files?: Partial<RedisFiles> } = {}) =>
  readLockServer(
    { text, exposedBy: more.exposedBy ?? null, files: { ...none, ...more.files } },
    "/run/mdctl/mdctld.sock",
  );
const secret = (name: string, mode = 0o600): string => {
  const path = join(folder.path, name);
  writeFileSync(path, "s3cret/with:odd@chars\n");
  chmodSync(path, mode);
  return path;
};

describe("the lock server setting", () => {
  it("is a lock server of this host unless something else is said", () => {
    expect(read(null)).toEqual({ type: "socket", path: "/run/mdctl/lockd.sock" });
    expect(read("unix:/tmp/x.sock")).toEqual({ type: "socket", path: "/tmp/x.sock" });
  });

  it("takes one, three or five Redis and files for all of them, as the line LOCKSERVER does", () => {
    const file = secret("one");
    expect(read(`redis://a redis://b:7000/2\n  redis+sentinel://c,d/m passwordfile=${file} ca=/x/ca.pem`)).toEqual({
      type: "redis",
      urls: ["redis://a", "redis://b:7000/2", "redis+sentinel://c,d/m"],
      files: { password: file, ca: "/x/ca.pem", cert: null, key: null },
    });
  });

  it.each([
    "http://host",
    "nonsense",
    "redis://",
    "redis://h/notanumber",
    "redis://h:0",
    "redis://h:70000",
    "redis://h,i",
    "redis+sentinel://h",
    "redis+cluster://h/1",
    "redis://h?color=red",
    "redis://h?ca=/x",
    "redis://h?wait=many",
    "rediss://h?ca=/x&ca=/y",
    "redis://%zz@h",
    "unix://relative/path",
    "passwordfile=/x",
    "redis://h token=/x",
    "unix:/a unix:/b",
  ])("refuses %s", (text) => {
    expect(() => read(text)).toThrow(expect.objectContaining({ code: "E_VALUE" }));
  });

  it("takes no credentials from the command line, and shows none when it refuses", () => {
    for (const text of ["redis://:secret@host", "redis://u:secret@host", "redis://secret@host"]) {
      expect(() => read(text, { exposedBy: "on a command line" })).toThrow(
        expect.objectContaining({ code: "E_USAGE", message: expect.not.stringContaining("secret") }),
      );
      expect(read(text)).toMatchObject({ urls: [text] });
    }
    expect(() => read("redis://u:secret@h/x/y")).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining("secret") }),
    );
    const files = { password: secret("two") };
    expect(read("redis://mdlm@host", { exposedBy: "on a command line", files })).toMatchObject({
      urls: ["redis://mdlm@host"],
    });
  });

  it("takes a password from a file only if nobody else can read it", () => {
    const open = secret("three", 0o640);
    for (const text of [`redis://h passwordfile=${open}`, `redis://h?passwordfile=${open}`]) {
      expect(() => read(text)).toThrow(expect.objectContaining({ code: "E_PERMISSION", hint: `chmod 600 ${open}` }));
    }
    expect(() => read("redis://h passwordfile=/nonexistent")).toThrow(expect.objectContaining({ code: "E_VALUE" }));
    const empty = join(folder.path, "empty");
    writeFileSync(empty, "\n", { mode: 0o600 });
    expect(() => read(`redis://h passwordfile=${empty}`)).toThrow(expect.objectContaining({ code: "E_VALUE" }));
  });
});
