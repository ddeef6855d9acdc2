/** Imports a package from this folder's node_modules. */
export const load = (name) => import(name);
