export function render({ model }) {
  return new Surface(model).root
}
