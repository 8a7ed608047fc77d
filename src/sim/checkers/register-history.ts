/** One operation on a register, in the time in which it must have taken effect. */
export interface RegisterOperation {
  /** For the report. */
  readonly who: string;
  readonly invoked: number;
  /** When its outcome was known. */
  readonly returned: number;
  /** false: it may never have taken effect (its caller died before it knew). */
  readonly certain: boolean;
  readonly action:
    | { readonly type: "write"; readonly value: string }
    /** `value` empty: there was none. */
    | { readonly type: "read"; readonly value: string }
    /** The reader was told that the value means nothing. */
    | { readonly type: "read_invalid" }
    /** Nobody kept the register: its value may be forgotten. */
    | { readonly type: "vanish" };
}

/** Null: known to be invalid. */
type State = string | null;

/** A possible past: the state now, and which of the operations under way have taken effect already. */
interface Past {
  readonly state: State;
  readonly done: readonly number[];
}

const keyOf = ({ state, done }: Past): string => `${state === null ? "-" : `+${state}`}/${done.join()}`;

/** The state after an action, or undefined where it cannot have happened in this state. */
function after(state: State, { action }: RegisterOperation): State | undefined {
  switch (action.type) {
    case "write":
      return action.value;
    case "read":
      return state === action.value ? state : undefined;
    case "read_invalid":
      return null;
    case "vanish":
      return "";
  }
}

/**
 * Is there an order of the operations, each at one instant between its call and its return, in which every read sees
 * the last write (Wing and Gong; here as the set of all pasts that are still possible, after Lowe)? Returns the first
 * operation that no past explains, or null.
 */
export function findContradiction(operations: readonly RegisterOperation[]): RegisterOperation | null {
  const moments = operations.flatMap((operation, id) => [
    { at: operation.invoked, order: 0, id },
    { at: operation.returned, order: 1, id },
  ]);
  moments.sort((a, b) => a.at - b.at || a.order - b.order);
  const open = new Set<number>();
  let pasts: readonly Past[] = [{ state: "", done: [] }];
  for (const { order, id } of moments) {
    const operation = operations[id];
    if (operation === undefined || order === 0) {
      open.add(id);
      continue;
    }
    const possible = extend(pasts, operations, open);
    const explained = operation.certain ? possible.filter(({ done }) => done.includes(id)) : possible;
    if (explained.length === 0) return operation;
    open.delete(id);
    pasts = distinct(explained.map(({ state, done }) => ({ state, done: done.filter((one) => one !== id) })));
  }
  return null;
}

/** All pasts in which any of the open operations may have taken effect, in any order. */
function extend(pasts: readonly Past[], operations: readonly RegisterOperation[], open: ReadonlySet<number>): Past[] {
  const found = new Map(pasts.map((past) => [keyOf(past), past]));
  const left = [...pasts];
  for (let past = left.pop(); past !== undefined; past = left.pop()) {
    for (const id of open) {
      const operation = operations[id];
      if (operation === undefined || past.done.includes(id)) continue;
      const state = after(past.state, operation);
      if (state === undefined) continue;
      // Forgetting twice is forgetting.
      const done = operation.action.type === "vanish" ? past.done : [...past.done, id].sort((a, b) => a - b);
      const next = { state, done };
      if (found.has(keyOf(next))) continue;
      found.set(keyOf(next), next);
      left.push(next);
    }
  }
  return [...found.values()];
}

const distinct = (pasts: readonly Past[]): readonly Past[] => [
  ...new Map(pasts.map((past) => [keyOf(past), past])).values(),
];
