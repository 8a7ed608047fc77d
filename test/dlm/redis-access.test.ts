import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { lockStatus } from "../../src/dlm/lock-status.ts";
import { connectRedisMaster } from "../../src/dlm/redis/redis-lock-master.ts";
import type { TlsFiles } from "../../src/dlm/socket/socket-address.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { lockMasterConformance } from "../conformance/lock-master.ts";
import { LOOPBACK, TestCa } from "../support/certificates.ts";
import { joinRecorded } from "../support/lockspace-node.ts";
import { freePort, type RedisServer, startRedis } from "../support/redis.ts";
import { aclRule } from "../support/redis-acl.ts";
import { tempDir } from "../support/temp-dir.ts";

const env = realEnv(silentLogger);
const lockspace = { cluster: "alpha", name: "array" };
const hello = { op: "hello" } as const;

const addUser = (server: RedisServer): Promise<string> =>
  server.command("acl", "setuser", "mdlm", "reset", "on", ">pw", ...aclRule());

// The rule of docs/redis.md, word for word, is enough for everything that a lock server is asked.
lockMasterConformance("redis, as a user with the fewest rights", async () => {
  const server = await startRedis();
  await addUser(server);
  const deployer = await connectRedisMaster({ url: server.url, node: "deploy", env });
  await deployer.close();
  const master = await connectRedisMaster({ url: `redis://mdlm:pw@127.0.0.1:${server.port}`, node: "test", env });
  const close = async (): Promise<void> => {
    await master.close();
    await server.stop();
  };
  return { master, close };
});

describe("F45: who may talk to Redis", () => {
  const cleanup: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const undo of cleanup.splice(0).reverse()) await undo();
  });

  const folder = (): string => {
    const { path, remove } = tempDir("redis-tls");
    cleanup.push(async () => remove());
    return path;
  };
  const start = async (...args: string[]): Promise<RedisServer> => {
    const server = await startRedis(args);
    cleanup.push(() => server.stop());
    return server;
  };
  const connect = async (url: string): Promise<LockMaster> => {
    const master = await connectRedisMaster({ url, node: "n1", env });
    cleanup.push(() => master.close());
    return master;
  };
  const refusal = async (url: string): Promise<unknown> => {
    try {
      await connect(url);
    } catch (error) {
      return error;
    }
    throw new Error("it was accepted");
  };
  const denied = (why: string) => ({ code: "E_PERMISSION", why: expect.stringContaining(why) });

  it("says how the functions get there when the user may not load them", async () => {
    const server = await start();
    await addUser(server);
    expect(await refusal(`redis://mdlm:pw@127.0.0.1:${server.port}`)).toMatchObject({
      code: "E_PERMISSION",
      message: expect.stringContaining("may not load them"),
      hint: expect.stringContaining("mdctl lock-functions | redis-cli"),
    });
    const program = fileURLToPath(new URL("../../bin/mdctl.mjs", import.meta.url));
    const deploy = `"${process.execPath}" "${program}" lock-functions | redis-cli -p ${server.port} -x FUNCTION LOAD`;
    expect(execFileSync("sh", ["-c", deploy], { encoding: "utf8" })).toMatch(/^mdlm1_/);
    expect((await (await connect(`redis://mdlm:pw@127.0.0.1:${server.port}`)).call(lockspace, hello)).rc).toBe(
      lockStatus.ENOLS,
    );
  });

  it("grants that user nothing else", async () => {
    const server = await start();
    await addUser(server);
    const as = (...words: string[]): Promise<string> =>
      server.command("--user", "mdlm", "--pass", "pw", "--no-auth-warning", ...words);
    for (const words of [
      "flushall",
      "keys *",
      "config get *",
      "get mdlm:x",
      "hset other f v",
      "eval return 0",
      "shutdown",
      "replicaof no one",
      "function flush",
    ]) {
      await expect(as(...words.split(" "))).rejects.toThrow(/NOPERM|permission/);
    }
  });

  it("says so when that user may not tell of events", async () => {
    const server = await start();
    await (await connect(server.url)).close();
    await addUser(server);
    await server.command("acl", "setuser", "mdlm", "resetchannels");
    expect(await refusal(`redis://mdlm:pw@127.0.0.1:${server.port}`)).toMatchObject(denied("channel"));
  });

  it("names a wrong password, a missing one, and rights that are too narrow", async () => {
    const server = await start("--requirepass", "right");
    expect(await refusal(server.url)).toMatchObject(denied("it wants a password"));
    expect(await refusal(`redis://:wrong@127.0.0.1:${server.port}`)).toMatchObject(denied("does not accept"));
    await server.command(
      "-a",
      "right",
      "--no-auth-warning",
      "acl",
      "setuser",
      "blind",
      "on",
      ">pw",
      "~*",
      "+@all",
      "-info",
    );
    expect(await refusal(`redis://blind:pw@127.0.0.1:${server.port}`)).toMatchObject(denied("lacks rights"));
  });

  it("reads the password anew for each connection, so that it can be changed while we run", async () => {
    const server = await start("--requirepass", "one");
    const file = join(folder(), "secret");
    writeFileSync(file, "one\n", { mode: 0o600 });
    const master = await connect(`${server.url}?passwordfile=${file}`);
    const back = new Promise<void>((resolve) => master.onReachable((reachable) => reachable && resolve()));
    await server.command("-a", "one", "--no-auth-warning", "config", "set", "requirepass", "two");
    writeFileSync(file, "two\n");
    await server.command("-a", "two", "--no-auth-warning", "client", "kill", "type", "normal");
    await back;
    expect((await master.call(lockspace, hello)).rc).toBe(lockStatus.ENOLS);
  });

  describe("over TLS", () => {
    const startTls = async (files: TlsFiles, ...more: string[]): Promise<number> => {
      const port = await freePort();
      const tls = ["--tls-cert-file", files.cert, "--tls-key-file", files.key, "--tls-ca-cert-file", files.ca];
      await start("--tls-port", String(port), "--tls-auth-clients", "no", ...tls, ...more);
      return port;
    };

    it("speaks with a server whose certificate is for its name and from our CA, and joins through it", async () => {
      const ca = new TestCa(folder());
      const port = await startTls(ca.issue("redis", LOOPBACK));
      const one = await joinRecorded(await connect(`rediss://localhost:${port}?ca=${ca.path}`), env, "n1");
      const lock = await one.lockspace.open("token", { lvb: false });
      expect((await lock.convert("EX")).status).toBe("granted");
      await one.lockspace.leave();
      const other = await connect(`rediss://127.0.0.1:${port}?ca=${ca.path}`);
      expect((await other.call(lockspace, hello)).rc).toBe(lockStatus.OK);
    });

    it("names a certificate of another CA, for another host, or expired, and what speaks no TLS", async () => {
      const path = folder();
      const [ca, other] = [new TestCa(path), new TestCa(path, "other")];
      const good = await startTls(ca.issue("redis", LOOPBACK));
      expect(await refusal(`rediss://localhost:${good}?ca=${other.path}`)).toMatchObject(denied("not signed by a CA"));
      expect(await refusal(`rediss://localhost:${good}`)).toMatchObject(denied("not signed by a CA"));
      const elsewhere = await startTls(ca.issue("elsewhere", "DNS:elsewhere"));
      const url = `rediss://localhost:${elsewhere}?ca=${ca.path}`;
      expect(await refusal(url)).toMatchObject(denied("another host name"));
      expect((await (await connect(`${url}&servername=elsewhere`)).call(lockspace, hello)).rc).toBe(lockStatus.ENOLS);
      const expired = await startTls(ca.issue("old", LOOPBACK, -1));
      expect(await refusal(`rediss://localhost:${expired}?ca=${ca.path}`)).toMatchObject(denied("has expired"));
      const plain = await start();
      expect(await refusal(`rediss://localhost:${plain.port}?ca=${ca.path}`)).toMatchObject({
        code: expect.stringMatching(/E_PERMISSION|E_LOCK_SERVICE_LOST/),
      });
      expect(await refusal(`redis://localhost:${good}`)).toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
    });

    it("shows a certificate of its own to a server that asks for one", async () => {
      const path = folder();
      const ca = new TestCa(path);
      const port = await startTls(ca.issue("redis", LOOPBACK), "--tls-auth-clients", "yes");
      const ours = ca.issue("n1", "DNS:n1");
      expect(await refusal(`rediss://localhost:${port}?ca=${ca.path}`)).toMatchObject(denied("certificate of ours"));
      const url = `rediss://localhost:${port}?ca=${ca.path}&cert=${ours.cert}&key=`;
      expect((await (await connect(`${url}${ours.key}`)).call(lockspace, hello)).rc).toBe(lockStatus.ENOLS);
      const open = join(path, "open.key");
      copyFileSync(ours.key, open);
      chmodSync(open, 0o644);
      expect(await refusal(`${url}${open}`)).toMatchObject({
        code: "E_PERMISSION",
        message: expect.stringContaining("read by others"),
      });
    });
  });
});
