import type { SimEvent } from "../sim-event.ts";
import type { Checker, Report } from "./checker.ts";
import { Leases } from "./leases.ts";

/**
 * Messages are heard once, by everybody in one order; and when a sender is told that all have processed its message,
 * all have: every member that listened before it was begun. Without a lease it may be told anything. What a sender that
 * died in the middle has said is heard by all or by none: who hears the next message has not missed one that others
 * heard (docs/decisions/0033).
 */
export class MessageOrderChecker implements Checker {
  readonly name = "messages in one order";
  readonly #report: Report;
  readonly #leases: Leases;
  /** Place of each message in the order, by its first hearing. */
  readonly #places = new Map<number, number>();
  /** By life: messages heard, and the place of the last. */
  readonly #heard = new Map<string, { readonly numbers: Set<number>; last: number }>();
  readonly #listening = new Set<string>();
  /** By message that is not known to be processed by all: who must hear it. */
  readonly #begun = new Map<number, readonly string[]>();

  constructor(now: () => number, report: Report) {
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
        this.#begun.set(
          event.number,
          [...this.#listening].filter((life) => life !== event.life),
        );
        break;
      case "message_heard":
        this.#hear(event.life, event.number);
        break;
      case "message_said":
        for (const life of this.#leases.holds(event.life) ? (this.#begun.get(event.number) ?? []) : []) {
          if (!this.#listening.has(life) || this.#heard.get(life)?.numbers.has(event.number)) continue;
          this.#report(`${event.life} believes that ${life} has processed message ${event.number}`);
        }
        this.#begun.delete(event.number);
        break;
      case "deaf":
      case "evicted":
      case "life_ended":
        this.#listening.delete(event.life);
        break;
      default:
    }
  }

  #hear(life: string, number: number): void {
    const place = this.#places.get(number) ?? this.#places.size;
    this.#places.set(number, place);
    const heard = this.#heard.get(life) ?? { numbers: new Set<number>(), last: -1 };
    this.#heard.set(life, heard);
    if (heard.numbers.has(number)) this.#report(`${life} hears message ${number} again`);
    else if (place <= heard.last) this.#report(`${life} hears message ${number} in another order than others`);
    heard.numbers.add(number);
    heard.last = Math.max(heard.last, place);
    for (const [earlier, hearers] of this.#begun) {
      const other = this.#places.get(earlier);
      if (other === undefined || other >= place || heard.numbers.has(earlier) || !hearers.includes(life)) continue;
      this.#report(`${life} hears message ${number} and has missed message ${earlier}, which others heard`);
    }
  }
}
