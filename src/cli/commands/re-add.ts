import type { Command } from "../command.ts";
import { verbSteps } from "../manage-operations.ts";
import { runSteps } from "./manage-run.ts";

export const reAdd: Command = async (invocation, context) =>
  runSteps(verbSteps("re-add", invocation.tokens), invocation, context);
