// Inside the machine of scripts/test-virtualbox.sh.
//
// VirtualBox's driver has the kernel rewrite a branch of its scheduler when the first machine starts, and back when the last
// one ends. QEMU's other processor may still run the breakpoint that stands there meanwhile; the kernel, done by then, panics.
// This driver switches that branch once, before any machine starts.
#include <linux/module.h>
#include <linux/preempt.h>

static int __init steady(void)
{
	preempt_notifier_inc();
	return 0;
}

module_init(steady);
MODULE_DESCRIPTION("keeps the scheduler's preemption notifiers on");
MODULE_LICENSE("GPL");
