/**
 * The one batcher of the page: whatever changes, and however often, is drawn once per animation frame. A task that is due
 * already is not added again, so nothing grows while the page is hidden and no frames come.
 */
const due = new Set<() => void>();

export function onFrame(task: () => void): void {
  if (due.size === 0) requestAnimationFrame(run);
  due.add(task);
}

function run(): void {
  const tasks = [...due];
  due.clear();
  for (const task of tasks) task();
}
