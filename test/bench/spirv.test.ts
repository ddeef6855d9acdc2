import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loopsOfSpirv } from '../../bench/plan/spirv.ts';
import { compareLoops } from '../../bench/spirv.ts';

const test = suite('loops in SPIR-V');

test('counts a loop of unknown length, a loop inside it that runs four times, and a function that it calls', () => {
  const loops = loopsOfSpirv(`
               OpEntryPoint GLCompute %90 "dawn_entry_point"
      %float = OpTypeFloat 32
       %uint = OpTypeInt 32 0
       %bool = OpTypeBool
       %half = OpTypeFloat 16
    %v4float = OpTypeVector %float 4
   %_ptr_y_4 = OpTypePointer StorageBuffer %v4float
   %_ptr_w_h = OpTypePointer Workgroup %half
     %uint_0 = OpConstant %uint 0
     %uint_4 = OpConstant %uint 4
     %uint_1 = OpConstant %uint 1
         %10 = OpFunction %void None %1
         %11 = OpVariable %_ptr_Function_uint Function
         %12 = OpLabel
         %13 = OpFMul %float %2 %3
               OpLoopMerge %40 %39 None
               OpBranch %20
         %20 = OpLabel
         %21 = OpAccessChain %_ptr_y_4 %5 %uint_0
         %22 = OpLoad %v4float %21
         %23 = OpFMul %v4float %22 %22
         %24 = OpFAdd %v4float %23 %22
         %25 = OpFunctionCall %float %60 %2
               OpStore %11 %uint_0
               OpLoopMerge %36 %35 None
         %27 = OpLoad %uint %11
         %28 = OpULessThan %bool %27 %uint_4
         %29 = OpAccessChain %_ptr_w_h %6 %27
               OpStore %29 %7
               OpControlBarrier %uint_1 %uint_1 %uint_1
         %35 = OpLabel
         %30 = OpLoad %uint %11
         %31 = OpIAdd %uint %30 %uint_1
               OpStore %11 %31
         %36 = OpLabel
         %39 = OpLabel
         %40 = OpLabel
               OpReturn
               OpFunctionEnd
         %60 = OpFunction %float None %1
         %61 = OpExtInst %float %8 Exp %2
               OpReturnValue %61
               OpFunctionEnd
         %90 = OpFunction %void None %1
         %91 = OpFunctionCall %void %10
               OpReturn
               OpFunctionEnd`);
  // The product of a vector, to which it adds at once; four times a comparison and a step.
  const expected = { arithmetic: 4 + 4 * 2, special: 1, loads: 1, stores: 0, shared: 4 * 2, barriers: 4, products: 0 };
  assert.equal(loops, [expected]);
});

test('the plan counts the loops of the main kernels as SPIR-V has them, and of products within a tenth', () => {
  const found = [...compareLoops()].filter(([name]) => /^(matmul\.subgroup|flashAttention(Backward)?\.)/.test(name));
  for (const [name, loops] of found) {
    for (const [plan, spirv] of loops) {
      for (const key of ['special', 'loads', 'stores', 'products'] as const)
        assert.is(plan[key], spirv[key], `${name} ${key}`);
      // Of attention the plan counts more: bounds of storage, which this driver checks by itself.
      const most = name.startsWith('matmul') ? 1.1 : 1.25;
      const ratio = plan.arithmetic / spirv.arithmetic;
      assert.ok(ratio >= 0.95 && ratio <= most, `${name}: ${plan.arithmetic} and ${spirv.arithmetic}`);
    }
  }
});

test.run();
