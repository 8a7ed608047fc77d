import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { LVB_SIZE } from "../../src/dlm/lockspace.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { sleep } from "../../src/env/clock.ts";
import type { ClusterMessage } from "../../src/messages/message.ts";
import { type AfterAll, MessageBus } from "../../src/messages/message-bus.ts";
import { decodeRefusal } from "../../src/messages/refusal-codec.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { envOf, joinRecorded } from "../support/lockspace-node.ts";

interface Talker {
  readonly bus: MessageBus;
  readonly heard: ClusterMessage[];
  handle: (message: ClusterMessage) => Promise<AfterAll | null>;
  readonly lockspace: Awaited<ReturnType<typeof joinRecorded>>["lockspace"];
}

class Talk {
  readonly clock = new FakeClock();
  readonly master = new MemoryLockMaster();

  async add(name: string, listen = true): Promise<Talker> {
    const env = envOf(this.clock, name.charCodeAt(0));
    const { lockspace } = await this.wait(joinRecorded(this.master, env, name));
    const heard: ClusterMessage[] = [];
    const talker: { handle: Talker["handle"] } = { handle: async () => null };
    const bus = await this.wait(
      MessageBus.open(lockspace, env, (message) => {
        heard.push(message);
        return talker.handle(message);
      }),
    );
    await this.wait(bus.join(async () => {}));
    if (listen) bus.listen();
    return Object.assign(talker, { bus, heard, lockspace });
  }

  async wait<T>(promise: Promise<T>): Promise<T> {
    let done = false;
    const mark = (): void => {
      done = true;
    };
    promise.then(mark, mark);
    for (let i = 0; !done && i < 1000; i++) await this.clock.advance(10);
    if (!done) throw new Error("nothing came of it");
    return promise;
  }
}

const remove = (from: Talker, number: number): ClusterMessage => ({
  type: "remove",
  from: from.lockspace.slot,
  number,
});

const readd = (from: Talker, number: number): ClusterMessage => ({
  type: "re_add",
  from: from.lockspace.slot,
  number,
});

describe("message bus", () => {
  it("26.8: resolves a send when every other node has processed it, in one order", async () => {
    const talk = new Talk();
    const [a, b, c] = [await talk.add("a"), await talk.add("b"), await talk.add("c")];
    await talk.wait(
      Promise.all([
        a.bus.send(() => remove(a, 1)),
        b.bus.send(() => remove(b, 2)),
        c.bus.withToken(async (send) => {
          await send(remove(c, 3));
          await send(remove(c, 4));
        }),
      ]),
    );
    const said = [remove(a, 1), remove(b, 2), remove(c, 3), remove(c, 4)];
    expect(a.heard).toEqual(said.filter(({ from }) => from !== a.lockspace.slot));
    expect(b.heard).toEqual(said.filter(({ from }) => from !== b.lockspace.slot));
    expect(c.heard).toEqual(said.filter(({ from }) => from !== c.lockspace.slot));
    expect(c.bus.statistics).toMatchObject({ sent: { remove: 2 }, received: { remove: 2 }, refused: {}, failed: {} });
  });

  it("asks again once the token is held whether the message is still worth sending", async () => {
    const talk = new Talk();
    const [a, b] = [await talk.add("a"), await talk.add("b")];
    await talk.wait(a.bus.send(() => null));
    expect(b.heard).toEqual([]);
    expect(a.bus.statistics.sent).toEqual({});
  });

  it("runs what is left for afterwards only when the slowest node has processed the message", async () => {
    const talk = new Talk();
    const [a, b, c] = [await talk.add("a"), await talk.add("b"), await talk.add("c")];
    const order: string[] = [];
    b.handle = async () => {
      order.push("b processed");
      return async () => {
        order.push("b after all");
      };
    };
    let release: () => void = () => {};
    c.handle = () =>
      new Promise((resolve) => {
        release = () => {
          order.push("c processed");
          resolve(null);
        };
      });
    const sent = a.bus.send(() => remove(a, 1));
    await talk.clock.advance(100);
    expect(order).toEqual(["b processed"]);
    release();
    await talk.wait(sent);
    await talk.clock.advance(100);
    expect(order).toEqual(["b processed", "c processed", "b after all"]);
  });

  it("26.7: keeps a sender waiting for a node that has joined and does not listen yet", async () => {
    const talk = new Talk();
    const a = await talk.add("a");
    const b = await talk.add("b", false);
    let sent = false;
    const sending = a.bus
      .send(() => remove(a, 1))
      .then(() => {
        sent = true;
      });
    await talk.clock.advance(500);
    expect(sent).toBe(false);
    b.bus.listen();
    await talk.wait(sending);
    expect(b.heard).toEqual([remove(a, 1)]);
  });

  it("26.20: tells the sender who refused what and why, when all have answered, and goes on", async () => {
    const talk = new Talk();
    const [a, b, c] = [await talk.add("a"), await talk.add("b"), await talk.add("c")];
    b.handle = () => Promise.reject(new MdError("E_NODE_CANNOT_SEE_DEVICE", "no device with this UUID is seen here"));
    await expect(talk.wait(a.bus.send(() => readd(a, 1)))).rejects.toMatchObject({
      code: "E_NODE_CANNOT_SEE_DEVICE",
      message: "b refuses RE_ADD: no device with this UUID is seen",
      details: { refusals: [{ node: "b" }] },
    });
    expect(c.heard).toEqual([readd(a, 1)]);
    expect(a.bus.statistics).toMatchObject({ refused: { re_add: 1 }, failed: {} });
    expect(b.bus.statistics).toMatchObject({ refused: {}, failed: { re_add: 1 } });
    expect(a.bus.statistics.lastRefusal).toContain("b refuses RE_ADD");
    // An old refusal says nothing of the next message, of this sender or of another.
    b.handle = async () => null;
    await talk.wait(a.bus.send(() => readd(a, 2)));
    await talk.wait(c.bus.send(() => readd(c, 3)));
    expect(b.heard).toHaveLength(3);
  });

  it("keeps the token over a refusal in a section, which may undo what it has begun", async () => {
    const talk = new Talk();
    const [a, b, c] = [await talk.add("a"), await talk.add("b"), await talk.add("c")];
    b.handle = async (message) => {
      if (message.type === "re_add" && message.number === 1) throw new MdError("E_IO", "no");
      return null;
    };
    const other = c.bus.send(() => readd(c, 9));
    await talk.wait(
      a.bus.withToken(async (send) => {
        await expect(send(readd(a, 1))).rejects.toMatchObject({ code: "E_IO" });
        await send(readd(a, 2));
      }),
    );
    await talk.wait(other);
    expect(b.heard.map((message) => ("number" in message ? message.number : null)).filter((n) => n !== 9)).toEqual([
      1, 2,
    ]);
  });

  it("asks nobody for a refusal of what cannot be refused: no call more", async () => {
    const talk = new Talk();
    const [a, b] = [await talk.add("a"), await talk.add("b")];
    b.handle = () => Promise.reject(new MdError("E_IO", "no"));
    await talk.wait(a.bus.send(() => ({ type: "resyncing_start", from: a.lockspace.slot })));
    const { resources } = await talk.wait(a.lockspace.dump());
    expect(b.bus.statistics.failed).toEqual({ resyncing_start: 1 });
    const ofA = resources.filter(({ granted }) => granted.some(({ slot }) => slot === a.lockspace.slot));
    expect(ofA.map(({ name }) => name).sort()).toEqual(["ack", "message", "token"]);
  });

  it("does not take the refusal of a life that is over for one of the next in its slot", async () => {
    const talk = new Talk();
    const [a, b] = [await talk.add("a"), await talk.add("b")];
    b.handle = () => Promise.reject(new MdError("E_IO", "no"));
    await expect(talk.wait(a.bus.send(() => readd(a, 1)))).rejects.toMatchObject({ code: "E_IO" });
    b.lockspace.abandon();
    b.bus.break(new MdError("E_NOT_JOINED", "dead"));
    await talk.wait(a.bus.send(() => readd(a, 2)));
    const again = await talk.add("b");
    await talk.wait(a.bus.send(() => readd(a, 3)));
    expect(again.heard).toEqual([readd(a, 3)]);
  });

  it("acknowledges a type that it does not know, with a refusal that its sender can read", async () => {
    const talk = new Talk();
    const a = await talk.add("a");
    a.handle = () => Promise.reject(new MdError("E_PROTOCOL_VERSION", "message type 99 is unknown"));
    // A sender of a newer version, made of its locks.
    const { lockspace } = await talk.wait(joinRecorded(talk.master, envOf(talk.clock, 7), "newer"));
    const open = (resource: string, lvb: boolean) => talk.wait(lockspace.open(resource, { lvb }));
    const [token, message] = [await open("token", false), await open("message", true)];
    const [ack, result] = [await open("ack", false), await open("result0000", true)];
    await talk.wait(token.convert("EX"));
    await talk.wait(message.convert("EX"));
    const lvb = new Uint8Array(LVB_SIZE);
    new DataView(lvb.buffer).setUint32(0, 99, true);
    new DataView(lvb.buffer).setUint32(4, 3, true);
    await talk.wait(message.convert("CW", { lvb }));
    await talk.wait(ack.convert("EX"));
    expect(a.heard).toEqual([{ type: "unknown", from: 3, raw: 99 }]);
    expect(a.bus.statistics).toMatchObject({ received: { unknown: 1 }, failed: { unknown: 1 } });
    const { lvb: answer } = await talk.wait(result.convert("CR"));
    expect(decodeRefusal(answer ?? new Uint8Array(LVB_SIZE))).toEqual({
      ...{ from: 3, sequence: 0, code: "E_PROTOCOL_VERSION", why: "message type 99 is unknown" },
    });
  });

  it("26.15, 27.15: lets a wait for the token be cancelled, and hears messages meanwhile", async () => {
    const talk = new Talk();
    const [a, b] = [await talk.add("a"), await talk.add("b")];
    let release: () => void = () => {};
    const holding = a.bus.withToken(async (send) => {
      await send(remove(a, 1));
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    });
    const giveUp = new AbortController();
    const waiting = b.bus.withToken(async () => "never", giveUp.signal);
    await talk.clock.advance(100);
    expect(b.heard).toEqual([remove(a, 1)]);
    giveUp.abort();
    await expect(talk.wait(waiting)).rejects.toMatchObject({ code: "E_CANCELLED" });
    release();
    await talk.wait(holding);
    await talk.wait(b.bus.send(() => remove(b, 2)));
    expect(a.heard).toEqual([remove(b, 2)]);
  });

  it("27.23: gives the token back when a section throws", async () => {
    const talk = new Talk();
    const [a, b] = [await talk.add("a"), await talk.add("b")];
    await expect(
      talk.wait(
        a.bus.withToken(async () => {
          throw new MdError("E_VALUE", "changed my mind");
        }),
      ),
    ).rejects.toMatchObject({ code: "E_VALUE" });
    await talk.wait(b.bus.send(() => remove(b, 1)));
    expect(a.heard).toEqual([remove(b, 1)]);
  });

  it("ends every wait when it breaks or closes, and no sender waits for it any more", async () => {
    const talk = new Talk();
    const [a, b] = [await talk.add("a"), await talk.add("b")];
    b.handle = () => new Promise(() => {});
    const sending = a.bus.send(() => remove(a, 1));
    const behind = b.bus.send(() => remove(b, 2));
    await talk.clock.advance(100);
    const refused = expect(behind).rejects.toMatchObject({ code: "E_NOT_JOINED" });
    await talk.wait(b.bus.close());
    await refused;
    await talk.wait(sending);
    await expect(b.bus.send(() => remove(b, 3))).rejects.toMatchObject({ code: "E_NOT_JOINED" });
  });
});

describe("the times of a message", () => {
  it("say how long the token and the acknowledgements took, and who kept the others waiting", async () => {
    const talk = new Talk();
    const [a, b, c] = [await talk.add("a"), await talk.add("b"), await talk.add("c")];
    await talk.wait(a.bus.send(() => remove(a, 1)));
    expect(a.bus.statistics.last).toMatchObject([{ type: "remove", tokenMs: 0, messageMs: null, ackMs: 0, slow: [] }]);
    b.handle = () => sleep(talk.clock, 350).then(() => null);
    const slow = a.bus.withToken(async (send) => {
      await send(remove(a, 2));
      b.handle = async () => null;
      await send(remove(a, 3));
    });
    const behind = c.bus.send(() => remove(c, 4));
    await talk.wait(Promise.all([slow, behind]));
    const [, second, third] = a.bus.statistics.last;
    expect(second).toMatchObject({ ackMs: 350, slow: [{ slot: b.lockspace.slot, ms: 300 }] });
    // Under the same token: nothing was waited for but the acknowledgements.
    expect(third).toMatchObject({ tokenMs: null, messageMs: 0, ackMs: 0, slow: [] });
    expect(c.bus.statistics.last).toMatchObject([{ tokenMs: 350, ackMs: 0, slow: [] }]);
  });

  it("are kept of the last sixteen", async () => {
    const talk = new Talk();
    const a = await talk.add("a");
    for (let n = 0; n < 20; n++) await talk.wait(a.bus.send(() => remove(a, n)));
    expect(a.bus.statistics.last).toHaveLength(16);
  });

  it("are no reason to ask a lock server any more once the bus is broken", async () => {
    const talk = new Talk();
    const [a, b] = [await talk.add("a"), await talk.add("b")];
    b.handle = () => new Promise(() => {});
    const sending = a.bus.send(() => remove(a, 1)).catch((error: MdError) => error.code);
    await talk.clock.advance(250);
    let asked = 0;
    const call = talk.master.call.bind(talk.master);
    talk.master.call = (lockspace, what) => {
      if (what.op === "dump") asked++;
      return call(lockspace, what);
    };
    a.bus.break(new MdError("E_NOT_JOINED", "gone"));
    expect(await sending).toBe("E_NOT_JOINED");
    await talk.clock.advance(400);
    expect(asked).toBe(0);
  });
});
