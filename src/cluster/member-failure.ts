import { failMember, isLastCopy } from "../array/array-state.ts";
import { memberByNumber } from "../array/md-array.ts";
import { MdError } from "../base/md-error.ts";
import type { EngineNotice } from "../engine/engine-protocol.ts";
import type { Send } from "../messages/message-bus.ts";
import { adoptUnannounced, writeAndAnnounce } from "./metadata-update.ts";
import { countError, memberText, type NodeContext } from "./node-context.ts";

type MemberFailed = Extract<EngineNotice, { type: "memberFailed" }>;

/**
 * The data plane has lost a member (md-cluster, 19). It holds back every write that the member has missed until this has
 * an end: the member is faulty in all superblocks and on all nodes, or it turns out to be the last copy.
 */
export async function settleFailure(context: NodeContext, notice: MemberFailed): Promise<void> {
  const { place } = notice;
  const number = context.members.numberAt(place);
  context.members.block(place);
  if (number !== null) countError(context, number, "write");
  const who = number === null ? `place ${place}` : memberText(context, number);
  const path = number === null ? undefined : context.devices.get(number)?.path;
  if (notice.during === "timeout" && path !== undefined) context.opener.hangs(path);
  const what =
    notice.during === "timeout"
      ? `no answer for ${context.deps.options.ioTimeoutMs / 1000} s`
      : `${notice.during} error ${-Math.abs(notice.errno)} at ${notice.at}`;
  context.history.add("error", "ERROR", `${who}: ${what}`, {
    ...notice,
    number,
  });
  try {
    await context.bus.withToken((send) => settleUnderToken(context, send, place));
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    // It could not be recorded, so nothing that it missed may be acknowledged as written.
    context.history.add("error", "FAIL", `${who} failed, and that could not be recorded: ${error.message}`, { number });
    await giveUp(context, place, error);
  }
  // Others may have been told to wait for this.
  if (context.ownWindow.needsResync) context.lookForWork();
}

/** Without a way to tell the others, the member has to stay, and the writes that it missed fail; or we have to go. */
async function giveUp(context: NodeContext, place: number, cause: MdError): Promise<void> {
  try {
    await context.members.settleLastCopy(place);
  } catch (error) {
    if (!(error instanceof MdError)) throw error;
    context.fail(cause.message);
  }
}

async function settleUnderToken(context: NodeContext, send: Send, place: number): Promise<void> {
  await adoptUnannounced(context, send);
  // Another node was faster, or the member has gone altogether.
  if (!context.members.isBlocked(place)) return;
  const number = context.members.numberAt(place);
  const member = number === null ? null : memberByNumber(context.array, number);
  if (number === null || member === null || member.state === "faulty") {
    await context.members.settleKnownFailure(place);
  } else if (isLastCopy(context.array, number)) {
    const who = memberText(context, number);
    context.history.add("error", "LASTCOPY", `${who} is the last good copy: it stays, writes to it fail`, { number });
    await context.members.settleLastCopy(place);
  } else {
    await writeAndAnnounce(context, send, failMember(context.array, number));
  }
}
