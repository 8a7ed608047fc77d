import { describe, expect, it } from "vitest";
import { MdError } from "../../src/base/md-error.ts";
import { LVB_SIZE } from "../../src/dlm/lockspace.ts";
import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import type { ClusterMessage } from "../../src/messages/message.ts";
import { type AfterAll, MessageBus } from "../../src/messages/message-bus.ts";
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

describe("message bus", () => {
  it("resolves a send when every other node has processed it, in one order", async () => {
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
    expect(c.bus.statistics).toMatchObject({ sent: { remove: 2 }, received: { remove: 2 }, handlerErrors: 0 });
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
      return () => order.push("b after all");
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

  it("keeps a sender waiting for a node that has joined and does not listen yet", async () => {
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

  it("acknowledges when the handler throws, and counts it", async () => {
    const talk = new Talk();
    const [a, b] = [await talk.add("a"), await talk.add("b")];
    b.handle = () => Promise.reject(new MdError("E_IO", "no"));
    await talk.wait(a.bus.send(() => remove(a, 1)));
    expect(b.bus.statistics.handlerErrors).toBe(1);
  });

  it("acknowledges a type that it does not know", async () => {
    const talk = new Talk();
    const a = await talk.add("a");
    const [token, message, ack] = await Promise.all([
      openIn(talk, "b", "token"),
      openIn(talk, "b2", "message"),
      openIn(talk, "b3", "ack"),
    ]);
    await talk.wait(token.convert("EX"));
    await talk.wait(message.convert("EX"));
    const lvb = new Uint8Array(LVB_SIZE);
    new DataView(lvb.buffer).setUint32(0, 99, true);
    new DataView(lvb.buffer).setUint32(4, 3, true);
    await talk.wait(message.convert("CW", { lvb }));
    await talk.wait(ack.convert("EX"));
    expect(a.heard).toEqual([{ type: "unknown", from: 3, raw: 99 }]);
    expect(a.bus.statistics.received).toEqual({ unknown: 1 });
  });

  it("lets a wait for the token be cancelled, and hears messages meanwhile", async () => {
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

  it("gives the token back when a section throws", async () => {
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

async function openIn(talk: Talk, node: string, resource: string) {
  const { lockspace } = await talk.wait(joinRecorded(talk.master, envOf(talk.clock, resource.length * 1000), node));
  return talk.wait(lockspace.open(resource, { lvb: resource === "message" }));
}
