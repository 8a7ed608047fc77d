import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PageOutcome, WriteIntent } from "../../src/bitmap/write-intent.ts";

/** Three pages: 30720 chunks on the first, 32768 on the second. */
const CHUNKS = 70_000;
const PAGE = 4096;
/** Chunks of all three pages, some of them on one byte. */
const SAMPLE = [0, 1, 7, 30_719, 30_720, 30_727, 63_487, 63_488, 69_999];

function open(bits: readonly number[] = []): WriteIntent {
  const set = new Uint8Array(CHUNKS / 8);
  for (const chunk of bits) set[chunk >> 3] = (set[chunk >> 3] ?? 0) | (1 << (chunk & 7));
  return new WriteIntent({
    chunks: CHUNKS,
    superblock: new Uint8Array(256).fill(0x5a, 72, 136),
    bits: set,
    events: 3,
    staging: new Uint8Array(WriteIntent.pagesOf(CHUNKS) * PAGE),
  });
}

const bitIn = (image: Uint8Array, chunk: number): boolean => {
  const at = 256 + (chunk >> 3);
  return ((image[at] ?? 0) & (1 << (chunk & 7))) !== 0;
};

/** Writes every page that is asked for; which these were. */
function writeAll(intent: WriteIntent, outcome: PageOutcome = "durable"): readonly number[] {
  const pages: number[] = [];
  for (let page = intent.nextPage(0); page !== -1; page = intent.nextPage(page + 1)) pages.push(page);
  for (const page of pages) intent.beginPage(page);
  for (const page of pages) intent.endPage(page, outcome);
  return pages;
}

describe("pages of the bitmap", () => {
  it("begin with the superblock, and hold the bits from byte 256 on, least significant first", () => {
    const intent = open();
    intent.startWrite(0);
    intent.startWrite(9);
    intent.startWrite(30_720);
    expect(writeAll(intent)).toEqual([0, 1]);
    expect(intent.staging.subarray(24, 32)).toEqual(Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0));
    expect(intent.staging.subarray(72, 136)).toEqual(new Uint8Array(64).fill(0x5a));
    expect([intent.staging[256], intent.staging[257], intent.staging[PAGE]]).toEqual([1, 2, 1]);
  });

  it("hold the bits that were found on disk, each of which needs a resync", () => {
    const intent = open(SAMPLE);
    expect([intent.counters.dirty, intent.counters.needed]).toEqual([SAMPLE.length, SAMPLE.length]);
    writeAll(intent);
    for (const chunk of SAMPLE) expect(bitIn(intent.staging, chunk)).toBe(true);
    expect(intent.bits()[0]).toBe(0b10000011);
  });
});

describe("what a command waits for", () => {
  it("is the write of a page that begins after it, on all members or on all but one that is failing", () => {
    const intent = open();
    intent.setEvents(9);
    intent.beginPage(0);
    intent.setEvents(10);
    const write = intent.coveringWrite(0);
    intent.endPage(0, "durable");
    expect(intent.standing(0, write)).toBe("pending");
    intent.beginPage(0);
    intent.endPage(0, "partial");
    expect(intent.standing(0, write)).toBe("partial");
    intent.settle(true);
    expect(intent.standing(0, write)).toBe("durable");
  });

  it("has failed when the page could not be written at all, and nobody asks for it again", () => {
    const intent = open();
    intent.setEvents(9);
    const write = intent.coveringWrite(0);
    writeAll(intent, "failed");
    expect(intent.standing(0, write)).toBe("failed");
  });

  it("stays to come when a member came meanwhile", () => {
    const intent = open();
    intent.setEvents(9);
    const write = intent.coveringWrite(0);
    writeAll(intent, "stale");
    expect(intent.standing(0, write)).toBe("pending");
    writeAll(intent);
    expect(intent.standing(0, write)).toBe("durable");
  });
});

describe("a bit", () => {
  it("is lost when its page could not be written, until it is required again", () => {
    const intent = open();
    intent.startWrite(7);
    writeAll(intent, "failed");
    expect([intent.isDurable(7), intent.isLost(7)]).toEqual([false, true]);
    intent.startWrite(7);
    expect(intent.isLost(7)).toBe(false);
    writeAll(intent);
    expect(intent.isDurable(7)).toBe(true);
  });

  it("that a failing member may lack is durable once that is settled; on the last copy it is written again", () => {
    for (const faulty of [true, false]) {
      const intent = open();
      intent.startWrite(7);
      writeAll(intent, "partial");
      expect([intent.isDurable(7), intent.isLost(7)]).toEqual([false, false]);
      intent.settle(faulty);
      expect(intent.isDurable(7)).toBe(faulty);
      expect(writeAll(intent)).toEqual(faulty ? [] : [0]);
      expect(intent.isDurable(7)).toBe(true);
    }
  });

  it("whose clearing reached some members is not durable any more", () => {
    const intent = open();
    intent.startWrite(7);
    writeAll(intent);
    intent.endWrite(7, false);
    intent.age();
    writeAll(intent);
    intent.age();
    writeAll(intent, "failed");
    intent.startWrite(7);
    expect(intent.isDurable(7)).toBe(false);
  });
});

describe("events_cleared", () => {
  it("moves to the array's events with a write that all members have, and is durable before a bit is cleared", () => {
    const intent = open();
    intent.startWrite(1);
    writeAll(intent);
    intent.endWrite(1, true);
    for (let i = 0; i < 4; i++) intent.age();
    // Nothing was written in between: the stamp is not durable.
    expect(intent.counters.dirty).toBe(1);
    writeAll(intent);
    expect(intent.staging[32]).toBe(3);
    intent.age();
    expect(intent.counters.dirty).toBe(0);
  });

  it("falls with the array's events, at once: a step back to a state that no member has missed", () => {
    const intent = open();
    intent.startWrite(1);
    writeAll(intent);
    intent.endWrite(1, true);
    intent.age();
    writeAll(intent);
    expect([intent.staging[24], intent.staging[32]]).toEqual([3, 3]);
    intent.setEvents(2);
    writeAll(intent);
    expect([intent.staging[24], intent.staging[32]]).toEqual([2, 2]);
  });

  it("does not move with a write that a member lacks, but before its bit is cleared: who left earlier has missed it", () => {
    const intent = open();
    intent.startWrite(1);
    writeAll(intent);
    intent.endWrite(1, false);
    intent.setEvents(5);
    writeAll(intent);
    expect(intent.staging[32]).toBe(0);
    for (let i = 0; i < 4; i++) {
      intent.age();
      expect(intent.counters.dirty).toBe(1);
    }
    writeAll(intent);
    expect(intent.staging[32]).toBe(5);
    intent.age();
    expect(intent.counters.dirty).toBe(0);
  });
});

type Step =
  | { readonly type: "start" | "end" | "need" | "visit"; readonly chunk: number }
  | { readonly type: "begin"; readonly page: number }
  | { readonly type: "finish"; readonly page: number; readonly outcome: PageOutcome }
  | { readonly type: "age" }
  | { readonly type: "settle"; readonly faulty: boolean };

const outcomes: readonly PageOutcome[] = ["durable", "durable", "partial", "partial", "stale", "failed"];
// Mostly one page and a few of its chunks: only so do things come together.
const page = fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 2 }));
const chunk = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(0, 1, 7) }, fc.constantFrom(...SAMPLE));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constantFrom("start" as const, "end" as const), chunk }) },
  // A write that has come and gone, its bit durable.
  { weight: 2, arbitrary: fc.record({ type: fc.constant("visit" as const), chunk }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("need" as const), chunk }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("begin" as const), page }) },
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant("finish" as const), page, outcome: fc.constantFrom(...outcomes) }),
  },
  { weight: 4, arbitrary: fc.constant({ type: "age" as const }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("settle" as const), faulty: fc.boolean() }) },
);

/**
 * The plain model: what each of two members has on disk. A page write puts its image on both when it is durable; on one
 * and perhaps on the other when it is not. `missed` says which pages the failing one lacks.
 */
class Disks {
  readonly images = [new Uint8Array(3 * PAGE), new Uint8Array(3 * PAGE)];
  readonly #inFlight = new Map<number, Uint8Array>();

  begin(page: number, staging: Uint8Array): void {
    this.#inFlight.set(page, staging.slice(page * PAGE, (page + 1) * PAGE));
  }

  isInFlight(page: number): boolean {
    return this.#inFlight.has(page);
  }

  finish(page: number, members: readonly number[]): void {
    const image = this.#inFlight.get(page) ?? new Uint8Array(PAGE);
    this.#inFlight.delete(page);
    for (const member of members) this.images[member]?.set(image, page * PAGE);
  }

  /** Whichever of the members a crash leaves, and whatever of the writes in flight reached it: is the bit there? */
  surelyHas(chunk: number, members: readonly number[]): boolean {
    const page = Math.floor((256 + (chunk >> 3)) / PAGE);
    const image = new Uint8Array(3 * PAGE);
    image.set(this.#inFlight.get(page) ?? new Uint8Array(0), page * PAGE);
    const written = !this.isInFlight(page) || bitIn(image, chunk);
    return written && members.every((member) => bitIn(this.images[member] ?? new Uint8Array(0), chunk));
  }
}

/** The intent and the disks under it, through one story. */
class Story {
  readonly intent = open();
  readonly disks = new Disks();
  readonly writes = new Map<number, number>();
  readonly needed = new Set<number>();
  /** Member 1 has failed, and is not settled. */
  failing = false;
  members: readonly number[] = [0, 1];

  constructor() {
    this.intent.requireAll();
  }

  take(step: Step): void {
    switch (step.type) {
      case "start":
        this.#start(step.chunk);
        return;
      case "end":
        this.#end(step.chunk);
        return;
      case "visit":
        this.#start(step.chunk);
        for (const page of [0, 1, 2]) this.#begin(page);
        for (const page of [0, 1, 2]) this.#finish(page, "durable");
        this.#end(step.chunk);
        return;
      case "need":
        this.intent.need(step.chunk);
        this.needed.add(step.chunk);
        return;
      case "begin":
        this.#begin(step.page);
        return;
      case "finish":
        this.#finish(step.page, step.outcome);
        return;
      case "age":
        if (this.members.length === 2 && !this.failing) this.intent.age();
        return;
      case "settle":
        if (this.failing) this.#settle(step.faulty);
    }
  }

  inUse(): readonly number[] {
    return [...this.writes].filter(([, count]) => count > 0).map(([chunk]) => chunk);
  }

  check(): void {
    const bits = this.intent.bits();
    for (const chunk of [...this.inUse(), ...this.needed]) {
      expect(((bits[chunk >> 3] ?? 0) & (1 << (chunk & 7))) !== 0).toBe(true);
    }
    for (const chunk of SAMPLE) {
      if (this.intent.isDurable(chunk)) expect(this.disks.surelyHas(chunk, this.members)).toBe(true);
    }
  }

  /** Everything in use can be made durable in the end. */
  end(): void {
    for (const page of [0, 1, 2]) this.#finish(page, "durable");
    if (this.failing) this.#settle(true);
    for (const chunk of this.inUse()) this.intent.require(chunk);
    writeAll(this.intent);
    for (const chunk of this.inUse()) expect(this.intent.isDurable(chunk)).toBe(true);
  }

  #start(chunk: number): void {
    this.intent.startWrite(chunk);
    this.writes.set(chunk, (this.writes.get(chunk) ?? 0) + 1);
  }

  #end(chunk: number): void {
    const count = this.writes.get(chunk) ?? 0;
    if (count === 0) return;
    this.intent.endWrite(chunk, this.members.length === 2 && !this.failing);
    this.writes.set(chunk, count - 1);
  }

  #begin(page: number): void {
    if (this.disks.isInFlight(page) || this.intent.nextPage(page) !== page) return;
    this.intent.beginPage(page);
    this.disks.begin(page, this.intent.staging);
  }

  #finish(page: number, wanted: PageOutcome): void {
    if (!this.disks.isInFlight(page)) return;
    if (wanted === "partial" && this.members.length === 2) this.failing = true;
    // What is written while a member fails cannot be on that member.
    const outcome = this.failing && wanted === "durable" ? "partial" : wanted;
    if (outcome === "partial" && !this.failing) return;
    const reached = { durable: this.members, partial: [0], stale: [0], failed: [1] }[outcome];
    const there = reached.filter((member) => this.members.includes(member));
    this.disks.finish(page, there);
    this.intent.endPage(page, outcome);
  }

  #settle(faulty: boolean): void {
    this.failing = false;
    this.members = faulty ? [0] : [1];
    this.intent.settle(faulty);
    // Member 1 was not written meanwhile, and what is in flight does not go there.
    if (faulty) return;
    for (const page of [0, 1, 2]) this.#finish(page, "stale");
  }
}

describe("whatever happens", () => {
  it("a bit that is called durable is on every member that counts, and a chunk in use never loses its bit", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 150 }), (steps) => {
        const story = new Story();
        for (const step of steps) {
          story.take(step);
          story.check();
        }
        story.end();
      }),
      { numRuns: 800 },
    );
  });
});
