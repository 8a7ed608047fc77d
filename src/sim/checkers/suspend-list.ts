import type { SectorRange } from "../../base/units.ts";
import type { ClusterMessage } from "../../messages/message.ts";
import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";
import { Leases } from "./leases.ts";

interface Announcement {
  readonly owner: string;
  readonly slot: number;
  /** Null: nothing of the slot is suspended any more. */
  readonly range: SectorRange | null;
  /** Who must know by the time that it is acknowledged. */
  readonly hearers: readonly string[];
}

const same = (a: SectorRange | null, b: SectorRange | null): boolean =>
  a === b || (a !== null && b !== null && a.lo === b.lo && a.hi === b.hi);

const textOf = (range: SectorRange | null): string => (range === null ? "nothing" : `[${range.lo}, ${range.hi})`);

/**
 * What the data plane of each node suspends for a slot is what the slot's owner announced last (I4): from the moment in
 * which the owner hears that all have processed it until it announces something else or is gone; on a node that joins,
 * from the moment in which it serves IO. While an announcement is on its way both are right.
 */
export class SuspendListChecker implements Checker {
  readonly name = "suspended is what was announced";
  readonly #size: () => number;
  readonly #report: Report;
  readonly #leases: Leases;
  readonly #listening = new Set<string>();
  readonly #serving = new Set<string>();
  /** By life, by slot: what its data plane suspends. */
  readonly #lists = new Map<string, Map<number, SectorRange>>();
  /** By number of the message. */
  readonly #begun = new Map<number, Announcement>();
  /** By slot: what its owner announced, and all have processed. */
  readonly #announced = new Map<number, Announcement>();
  /** By slot: what its owner has put into the value block, where those that join look: it tells them first. */
  readonly #shown = new Map<number, SectorRange | null>();

  /** `size`: sectors of the array now: beyond them nothing can be suspended. */
  constructor(now: () => number, size: () => number, report: Report) {
    this.#size = size;
    this.#report = report;
    this.#leases = new Leases(now);
  }

  observe(event: SimEvent): void {
    this.#leases.observe(event);
    switch (event.type) {
      case "listening":
        this.#listening.add(event.life);
        break;
      case "message_begun":
        this.#begin(event.life, event.number, event.message);
        break;
      case "window_shown":
        this.#shown.set(event.slot, this.#inside(event.range));
        break;
      case "message_said":
        this.#said(event.number);
        break;
      case "suspended":
        this.#listOf(event.life).set(event.slot, event.range);
        this.#changed(event.life, event.slot);
        break;
      case "resumed":
        this.#listOf(event.life).delete(event.slot);
        this.#changed(event.life, event.slot);
        break;
      case "serving":
        this.#serving.add(event.life);
        for (const slot of this.#announced.keys()) this.#changed(event.life, slot);
        break;
      case "deaf":
      case "engine_stopped":
        this.#listening.delete(event.life);
        this.#serving.delete(event.life);
        break;
      case "evicted":
      case "life_ended":
        this.#forget(event.life);
        break;
      default:
    }
  }

  #begin(owner: string, number: number, message: ClusterMessage): void {
    const slot = message.from;
    // Others go on behind its last window: they resume it when they have its chunks.
    if (message.type === "bitmap_needs_sync") this.#announced.delete(slot);
    if (message.type !== "resyncing") return;
    const range = this.#inside(message.range);
    const hearers = [...this.#listening].filter((life) => life !== owner);
    this.#begun.set(number, { owner, slot, range, hearers });
  }

  #said(number: number): void {
    const announcement = this.#begun.get(number);
    if (announcement === undefined) return;
    this.#begun.delete(number);
    const { owner, slot, range, hearers } = announcement;
    if (!this.#leases.holds(owner)) {
      // It may have been told anything, and has given up what it announced before.
      this.#announced.delete(slot);
      return;
    }
    this.#announced.set(slot, announcement);
    for (const life of hearers) {
      const found = this.#lists.get(life)?.get(slot) ?? null;
      if (!this.#listening.has(life) || same(found, range)) continue;
      this.#report(
        `${owner} announced ${textOf(range)} in slot ${slot}, all acknowledged it, ${life} suspends ${textOf(found)}`,
      );
    }
  }

  /** Its list says something else of the slot now, or is to be relied on from now on. */
  #changed(life: string, slot: number): void {
    const announced = this.#announced.get(slot);
    if (announced === undefined || announced.owner === life || !this.#serving.has(life)) return;
    if (!this.#leases.holds(announced.owner)) return;
    const found = this.#lists.get(life)?.get(slot) ?? null;
    const shown = this.#shown.get(slot);
    if (same(found, announced.range) || (shown !== undefined && same(found, shown))) return;
    this.#report(
      `${life} suspends ${textOf(found)} for slot ${slot} while ${announced.owner} has announced ` +
        `${textOf(announced.range)}`,
    );
  }

  #inside(range: SectorRange | null): SectorRange | null {
    if (range === null) return null;
    const hi = Math.min(range.hi, this.#size()) as SectorRange["hi"];
    return range.lo >= hi ? null : { ...range, hi };
  }

  #listOf(life: string): Map<number, SectorRange> {
    const list = this.#lists.get(life) ?? new Map<number, SectorRange>();
    this.#lists.set(life, list);
    return list;
  }

  #forget(life: string): void {
    this.#listening.delete(life);
    this.#serving.delete(life);
    this.#lists.delete(life);
    for (const [slot, { owner }] of this.#announced) if (owner === life) this.#announced.delete(slot);
    for (const [number, { owner }] of this.#begun) if (owner === life) this.#begun.delete(number);
  }
}
