import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['node_modules', 'runs', 'dist', 'pages', 'bench/peers', '.gpu'] },
  ...tseslint.configs.strict,
  {
    languageOptions: { parserOptions: { projectService: { allowDefaultProject: ['*.js'] } } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      // Indices are checked by the shape rules; an assertion after a check is clearer than a second branch.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // Tensor gets one method for each op by declaration merging (autograd/methods.ts).
      '@typescript-eslint/no-unsafe-declaration-merging': 'off',
      '@typescript-eslint/unified-signatures': 'off',
    },
  },
  {
    files: ['common/**', 'models/**', 'train/**'],
    // A lock is no data: a disk that fails does not lose one.
    ignores: ['common/file-system.ts', 'common/lock.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          paths: ['node:fs', 'node:fs/promises'].map((name) => ({
            name,
            allowImportNames: [
              ...['FileHandle', 'lstat', 'open', 'readFile', 'readdir', 'stat'],
              ...['closeSync', 'createReadStream', 'fstatSync', 'openSync', 'readFileSync', 'readSync', 'readdirSync'],
              ...['readlinkSync', 'statSync', 'statfs'],
            ],
            message: 'Change the disk through common/file-system.ts, where tests let it fail.',
          })),
        },
      ],
    },
  },
  { files: ['*.js'], extends: [tseslint.configs.disableTypeChecked] },
);
