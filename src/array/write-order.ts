import { type MdArray, memberByNumber, writableMembers } from "./md-array.ts";
import type { Member } from "./member.ts";

/**
 * In which order the superblocks of `array` are written over those of `before`: each group durably before the next.
 * `whole`: they have replaced another and say so before anybody calls the other one faulty, else there might be no full
 * copy. `filling`: they say so themselves before the others call them active, since after a crash in between stock md
 * would go by the others' table and take them for full copies.
 */
export function writeOrder(before: MdArray, array: MdArray): Record<"whole" | "filling" | "others", readonly Member[]> {
  const members = writableMembers(array);
  const filling = members.filter(({ state }) => state === "rebuilding");
  const replaced = (number: number): boolean => memberByNumber(before, number)?.isReplacement === true;
  const whole = members.filter((member) => !filling.includes(member) && replaced(member.number));
  return { whole, filling, others: members.filter((one) => !filling.includes(one) && !whole.includes(one)) };
}
