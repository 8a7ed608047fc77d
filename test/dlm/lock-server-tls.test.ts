import { once } from "node:events";
import { chmodSync, copyFileSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LockMaster } from "../../src/dlm/lock-master.ts";
import { type LockServer, runLockServer } from "../../src/dlm/socket/lock-server.ts";
import { type NetAddress, readNetAddress, type TlsFiles } from "../../src/dlm/socket/socket-address.ts";
import { connectSocketMaster } from "../../src/dlm/socket/socket-lock-master.ts";
import type { Env } from "../../src/env/env.ts";
import type { Logger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { LOOPBACK, TestCa } from "../support/certificates.ts";
import { tempDir } from "../support/temp-dir.ts";

const lockspace = { cluster: "alpha", name: "array" };

describe("the lock server in the network", () => {
  let directory: ReturnType<typeof tempDir>;
  let ca: TestCa;
  let env: Env;
  /** What the server says of its clients. */
  let log: string[];
  const servers: LockServer[] = [];
  const masters: LockMaster[] = [];

  beforeEach(() => {
    directory = tempDir("lockd-tls");
    ca = new TestCa(directory.path);
    log = [];
    const note = (_: unknown, text: string): void => void log.push(text);
    const logger: Logger = {
      tracing: false,
      trace: note,
      debug: note,
      info: note,
      warn: note,
      error: note,
      child: () => logger,
    };
    env = realEnv(logger);
  });
  afterEach(async () => {
    for (const master of masters.splice(0)) await master.close();
    for (const server of servers.splice(0)) await server.close();
    directory.remove();
  });

  const serve = async (tls: TlsFiles | null): Promise<NetAddress> => {
    const socketPath = join(directory.path, `lockd-${servers.length}.sock`);
    const server = await runLockServer({ socketPath, env, listen: { host: "127.0.0.1", port: 0, tls } });
    if (server === null || server.listen === null) throw new Error("it does not listen");
    servers.push(server);
    return server.listen;
  };
  const client = async (server: NetAddress): Promise<LockMaster> => {
    const master = await connectSocketMaster({ server, env });
    masters.push(master);
    return master;
  };
  /** A server with a good certificate, and where node `n1` finds it. */
  const serveWell = async (): Promise<NetAddress> => {
    const { port } = await serve(ca.issue("lockd", LOOPBACK));
    return { host: "127.0.0.1", port, tls: ca.issue("n1", "DNS:n1") };
  };
  const said = async (pattern: RegExp): Promise<void> => {
    while (!log.some((line) => pattern.test(line))) await new Promise((resolve) => setImmediate(resolve));
  };
  const join1 = (node: string) =>
    ({
      op: "join",
      node,
      incarnation: "a",
      slots: 4,
      leaseMs: 1000,
      lvbSize: 64,
      fencing: "lease only",
      gone: [],
    }) as const;

  it("serves who shows a certificate of its CA, by address and by name, beside those of its own host", async () => {
    const address = await serveWell();
    const local = await connectSocketMaster({ socketPath: servers[0]?.socketPath ?? "", env });
    masters.push(local);
    await local.call(lockspace, { op: "format", lsid: "x", epoch: 0 });
    for (const host of ["127.0.0.1", "localhost"]) {
      const master = await client({ ...address, host });
      expect((await master.call(lockspace, { op: "hello" })).lsid).toBe("x");
      expect(master.about).toBe(`mdctl+tls://${host}:${address.port}`);
    }
  });

  it("is not trusted with a certificate of another CA, an expired one, or one for another host", async () => {
    const address = await serveWell();
    const foreign = new TestCa(directory.path, "foreign");
    const cases: [TlsFiles, TlsFiles | null, RegExp][] = [
      [foreign.issue("lockd", LOOPBACK, 30, ca), address.tls, /not signed by a CA in/],
      [ca.issue("lockd", "DNS:elsewhere"), address.tls, /not for 127\.0\.0\.1/],
    ];
    for (const [own, tls, why] of cases) {
      const { port } = await serve(own);
      const going = client({ host: "127.0.0.1", port, tls });
      await expect(going).rejects.toMatchObject({ code: "E_PERMISSION", why: expect.stringMatching(why) });
      log.length = 0;
    }
    // The other end has a name for it, too.
    const { port } = await serve(foreign.issue("lockd", LOOPBACK, 30, ca));
    await expect(client({ host: "127.0.0.1", port, tls: address.tls })).rejects.toThrow(/cannot be trusted/);
    await said(/may not trust this server's certificate/);
  });

  it("refuses a client with no certificate, one of another CA, an expired one, and says so on both ends", async () => {
    const { port } = await serveWell();
    const foreign = new TestCa(directory.path, "foreign");
    const going = client({ host: "127.0.0.1", port, tls: foreign.issue("n1", "DNS:n1", 30, ca) });
    await expect(going).rejects.toMatchObject({
      code: "E_PERMISSION",
      why: expect.stringMatching(/not signed by a CA/),
    });
    await said(/refused: its certificate is not signed by a CA in/);

    // Our own clients do not even try with these: another program does.
    const expired = ca.issue("n1", "DNS:n1", -1);
    await expect(client({ host: "127.0.0.1", port, tls: expired })).rejects.toMatchObject({
      code: "E_PERMISSION",
      why: expect.stringMatching(/it expired/),
    });
    const word = async (more: object): Promise<string> => {
      const socket = connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false, ...more });
      let answer = "";
      socket.on("data", (chunk) => {
        answer += chunk.toString();
      });
      socket.on("error", () => {});
      await once(socket, "close");
      return answer;
    };
    const pem = { cert: readFileSync(expired.cert), key: readFileSync(expired.key) };
    expect(await word(pem)).toMatch(/"kind":"certificate","reason":"its certificate has expired"/);
    expect(await word({})).toMatch(/"kind":"certificate","reason":"it shows no certificate"/);
    await said(/refused: it shows no certificate/);
    await said(/refused: its certificate has expired/);
  });

  it("does not start with a certificate that has expired, a key of another one, or a key that others can read", async () => {
    const good = ca.issue("lockd", LOOPBACK);
    const refusals: [TlsFiles, string, RegExp][] = [
      [ca.issue("lockd", LOOPBACK, -1), "E_PERMISSION", /is not valid now/],
      [{ ...good, key: ca.issue("other", LOOPBACK).key }, "E_VALUE", /is not the one of the certificate/],
      [{ ...good, cert: good.key }, "E_VALUE", /is not a certificate/],
      [{ ...good, ca: join(directory.path, "absent") }, "E_VALUE", /absent cannot be read/],
    ];
    for (const [tls, code, message] of refusals) {
      await expect(serve(tls)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    }
    chmodSync(good.key, 0o644);
    await expect(serve(good)).rejects.toMatchObject({ code: "E_PERMISSION", hint: `chmod 600 ${good.key}` });
    chmodSync(good.key, 0o600);
    const { port } = await serve(good);
    const master = await client({ host: "127.0.0.1", port, tls: ca.issue("n1", "DNS:n1") });
    expect((await master.call(lockspace, { op: "hello" })).rc).toBe(-1001);
  });

  it("lets a node join only under a name of its certificate", async () => {
    const { host, port, tls } = await serveWell();
    const master = await client({ host, port, tls });
    await master.call(lockspace, { op: "format", lsid: "x", epoch: 0 });
    expect((await master.call(lockspace, join1("n1"))).rc).toBe(0);
    await expect(master.call(lockspace, join1("n2"))).rejects.toMatchObject({
      code: "E_LOCK_SERVICE_LOST",
      why: "its certificate is one of n1, n1, and it calls itself n2",
    });
    const both = await client({ host, port, tls: ca.issue("nodes", "DNS:n2,DNS:n3") });
    expect((await both.call(lockspace, { ...join1("n3"), incarnation: "c" })).rc).toBe(0);
  });

  it("uses a renewed certificate when it is told, and keeps the old one when the new one is bad", async () => {
    const own = ca.issue("lockd", LOOPBACK);
    const { port } = await serve(own);
    const subject = async (): Promise<unknown> => {
      const socket = connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false });
      await once(socket, "secureConnect");
      const { subject: name } = socket.getPeerCertificate();
      socket.destroy();
      return name.CN;
    };
    const next = ca.issue("renewed", LOOPBACK);
    copyFileSync(next.cert, own.cert);
    expect(() => servers[0]?.renewCertificate()).toThrow(/is not the one of the certificate/);
    expect(await subject()).toBe("lockd");
    copyFileSync(next.key, own.key);
    servers[0]?.renewCertificate();
    expect(await subject()).toBe("renewed");
  });

  it("speaks no TLS with who does not, nor a client with a server that does not", async () => {
    const { port, tls } = await serveWell();
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(`${JSON.stringify({ type: "hello", protocol: 2 })}\n`);
    await once(socket, "close");
    await said(/no TLS with/);
    const plain = await serve(null);
    await expect(client({ ...plain, tls })).rejects.toMatchObject({ code: "E_PROTOCOL_VERSION" });
    const silent = createServer((one) => one.on("error", () => {})).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port: nobody } = silent.address() as { port: number };
    await expect(client({ host: "127.0.0.1", port: nobody, tls })).rejects.toMatchObject({
      code: "E_LOCK_SERVICE_LOST",
    });
    silent.close();
  });

  it("says when the port is taken, and leaves no socket behind", async () => {
    const { port } = await serve(null);
    const socketPath = join(directory.path, "second.sock");
    const second = runLockServer({ socketPath, env, listen: { host: "127.0.0.1", port, tls: null } });
    await expect(second).rejects.toMatchObject({
      code: "E_DAEMON",
      message: `cannot listen on tcp://127.0.0.1:${port}`,
    });
    await expect(connectSocketMaster({ socketPath, env })).rejects.toMatchObject({ code: "E_LOCK_SERVICE_LOST" });
  });

  it("lets nobody create a lockspace at once: members on other hosts may still write", async () => {
    const master = await client(await serve(null));
    expect(await master.call(lockspace, { op: "hello" })).toMatchObject({ rc: -1001, mayHaveForgotten: true });
  });
});

describe("addresses of lock servers", () => {
  const none = { ca: null, cert: null, key: null };
  const all = { ca: "ca", cert: "cert", key: "key" };

  it("are TLS with three files, or this host", () => {
    expect(readNetAddress("x", "mdctl+tls://h:7100", "mdctl+", all)).toEqual({ host: "h", port: 7100, tls: all });
    expect(readNetAddress("x", "tls://[::1]:7100", "", all)).toMatchObject({ host: "::1", port: 7100 });
    for (const host of ["127.0.0.1", "localhost", "[::1]"]) {
      expect(readNetAddress("x", `tcp://${host}:1`, "", none).tls).toBeNull();
    }
  });

  it.each([
    ["tcp://10.0.0.5:7100", none, "E_PERMISSION"],
    ["tcp://127.evil.example:7100", none, "E_PERMISSION"],
    ["tls://h:7100", { ...all, key: null }, "E_USAGE"],
    ["tls://u:p@h:7100", all, "E_USAGE"],
    ["tls://h", all, "E_VALUE"],
    ["tls://h:7100/x", all, "E_VALUE"],
    ["http://h:7100", all, "E_VALUE"],
    ["mdctl+tls://h:7100", all, "E_VALUE"],
    ["//", all, "E_VALUE"],
  ] as const)("refuse %s", (text, files, code) => {
    expect(() => readNetAddress("listen", text, "", files)).toThrow(expect.objectContaining({ code }));
  });
});
