import { MdError } from "../base/md-error.ts";
import type { ManageFlag } from "../daemon/control-api.ts";
import { isArrayDesignator, isPlainName } from "./array-designator.ts";
import type { Token } from "./tokenizer.ts";

export interface ManageStep {
  readonly op: string;
  readonly member: string;
  /** In force for this member: those given before it. */
  readonly flags: readonly ManageFlag[];
}

export interface ManageSteps {
  /** Surely an array's name; null when none was given that can be told by its form. */
  readonly array: string | null;
  /** The first step's member may be the plain name of an array instead: only who knows the arrays can tell. */
  readonly ambiguous: string | null;
  /** In the order of the command line. */
  readonly steps: readonly ManageStep[];
}

const operations = new Set(["add", "re-add", "add-spare", "fail", "remove", "replace", "with", "cluster-confirm"]);
const opposite: Readonly<Record<ManageFlag, ManageFlag>> = {
  "write-mostly": "readwrite",
  readwrite: "write-mostly",
  failfast: "nofailfast",
  nofailfast: "failfast",
};

/**
 * Reads `md0 --fail sdb sdc --remove sdb`: each operation applies to the members up to the next one, each flag to the
 * members after it. What stands before the first operation is the array. After it, the first operand is the array
 * only if it is an array designator by its form (command line specification, 1.3).
 */
export function manageSteps(tokens: readonly Token[]): ManageSteps {
  let array: string | null = null;
  let op: string | null = null;
  let members = 0;
  let flags: readonly ManageFlag[] = [];
  const steps: ManageStep[] = [];
  let sinceOp = 0;
  for (const token of tokens) {
    if (token.type === "option") {
      const { name } = token.spec;
      if (operations.has(name)) {
        if (op !== null && sinceOp === 0) throw new MdError("E_USAGE", `--${op} names no member`);
        op = name;
        sinceOp = 0;
      } else if (isFlag(name)) flags = [...flags.filter((flag) => flag !== name && flag !== opposite[name]), name];
      continue;
    }
    if (op === null) {
      if (array !== null)
        throw new MdError("E_USAGE", `what to do with ${token.text} is not said`, {
          hint: `mdctl ${array} --add ${token.text}`,
        });
      array = token.text;
    } else if (array === null && members === 0 && isArrayDesignator(token.text)) {
      array = token.text;
    } else {
      steps.push({ op, member: token.text, flags });
      members++;
      sinceOp++;
    }
  }
  if (op === null) throw new MdError("E_USAGE", "no operation is given", { hint: "mdctl ARRAY --add MEMBER" });
  if (sinceOp === 0) throw new MdError("E_USAGE", `--${op} names no member`);
  return { array, ambiguous: ambiguousIn(array, steps), steps };
}

function ambiguousIn(array: string | null, steps: readonly ManageStep[]): string | null {
  const [first] = steps;
  return array === null && first !== undefined && steps.length > 1 && isPlainName(first.member) ? first.member : null;
}

/** A step with the spare that `--with` names for it, null for none. */
export interface PairedStep extends ManageStep {
  readonly with: string | null;
}

/** The members after `--with` are spares for those of the `--replace` before it, in their order, as for mdadm. */
export function pairSpares(steps: readonly ManageStep[]): readonly PairedStep[] {
  const paired: PairedStep[] = [];
  let next = 0;
  for (const step of steps) {
    if (step.op !== "with") {
      if (step.op !== "replace" || paired.at(-1)?.op !== "replace") next = paired.length;
      paired.push({ ...step, with: null });
      continue;
    }
    const replaced = paired[next];
    if (replaced?.op !== "replace") {
      throw new MdError("E_USAGE", `--with ${step.member} follows no --replace that it could be for`, {
        hint: "mdctl ARRAY --replace MEMBER --with SPARE",
      });
    }
    paired[next++] = { ...replaced, with: step.member };
  }
  return paired;
}

const isFlag = (name: string): name is ManageFlag => name in opposite;

/** The verb spelling: `fail [ARRAY] MEMBER...`. A plain word in front of members may be either. */
export function verbSteps(op: string, tokens: readonly Token[]): ManageSteps {
  let flags: readonly ManageFlag[] = [];
  let array: string | null = null;
  let seen = 0;
  let current = op;
  const steps: ManageStep[] = [];
  for (const token of tokens) {
    if (token.type === "option") {
      const { name } = token.spec;
      if (name === "with") current = name;
      if (isFlag(name)) flags = [...flags.filter((flag) => flag !== name && flag !== opposite[name]), name];
      continue;
    }
    if (seen++ === 0 && isArrayDesignator(token.text)) array = token.text;
    else steps.push({ op: current, member: token.text, flags });
  }
  if (steps.length === 0) throw new MdError("E_USAGE", `${op} names no member`, { hint: `mdctl ${op} --help` });
  return { array, ambiguous: ambiguousIn(array, steps), steps };
}
