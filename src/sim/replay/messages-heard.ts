import { isDeepStrictEqual } from "node:util";
import type { ChannelEffect, ChannelState } from "../../messages/channel-state.ts";
import type { ClusterMessage } from "../../messages/message.ts";
import type { MachineLife } from "./machine-lives.ts";

interface Numbered {
  readonly sequence: number;
  readonly message: ClusterMessage;
}

/** What one node heard and said in one life, in its order. */
export interface Conversation {
  readonly life: MachineLife;
  readonly heard: readonly Numbered[];
  /** Messages that all others had processed, as it was told. */
  readonly said: readonly Numbered[];
}

export function conversationOf(life: MachineLife): Conversation {
  const heard: Numbered[] = [];
  const said: Numbered[] = [];
  for (const { effects, before, after } of life.steps) {
    for (const effect of effects as readonly ChannelEffect[]) {
      const { last } = after as ChannelState;
      if (last === null) continue;
      if (effect.type === "deliver") heard.push({ sequence: last.sequence, message: effect.message });
      const { outgoing } = before as ChannelState;
      if (effect.type === "published" && outgoing !== null) {
        said.push({ sequence: last.sequence, message: outgoing.message });
      }
    }
  }
  return { life, heard, said };
}

/** Does `a` come before `b`? 32 bits, wraps. */
const isBefore = (a: number, b: number): boolean => a !== b && (b - a) >>> 0 < 2 ** 31;

/**
 * Every message to every node, in one order (md-cluster, 8): numbers only rise; a number means the same everywhere;
 * what was acknowledged by all was heard by each node that heard something before and something after it. Returns what
 * does not hold. Conversations that do not overlap in time are not compared: when the last node leaves, the numbers
 * begin anew.
 */
export function judgeConversations(conversations: readonly Conversation[]): readonly string[] {
  const wrong: string[] = [];
  for (const one of conversations) {
    const who = `${one.life.node} (${one.life.begins.file})`;
    for (const [at, { sequence }] of one.heard.entries()) {
      const before = one.heard[at - 1];
      if (before !== undefined && !isBefore(before.sequence, sequence)) {
        wrong.push(`${who} hears message ${sequence} after message ${before.sequence}`);
      }
    }
    for (const other of conversations) {
      if (other === one || other.life.array !== one.life.array || !overlap(one.life, other.life)) continue;
      for (const { sequence, message } of other.said) {
        const heard = one.heard.find((each) => each.sequence === sequence);
        if (heard === undefined && isWithin(one.heard, sequence)) {
          wrong.push(`${who} missed message ${sequence}, ${message.type} of ${other.life.node}`);
        } else if (heard !== undefined && !isDeepStrictEqual(heard.message, message)) {
          wrong.push(
            `message ${sequence} is ${message.type} for ${other.life.node}, and ${heard.message.type} for ${who}`,
          );
        }
      }
    }
  }
  return wrong;
}

function isWithin(heard: readonly Numbered[], sequence: number): boolean {
  const [first] = heard;
  const last = heard.at(-1);
  return (
    first !== undefined && last !== undefined && isBefore(first.sequence, sequence) && isBefore(sequence, last.sequence)
  );
}

const spanOf = ({ begins, steps }: MachineLife): readonly [number, number] => [
  begins.time,
  steps.at(-1)?.record.time ?? begins.time,
];

function overlap(a: MachineLife, b: MachineLife): boolean {
  const [from, to] = spanOf(a);
  const [otherFrom, otherTo] = spanOf(b);
  return from <= otherTo && otherFrom <= to;
}
