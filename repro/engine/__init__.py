"""Training (mmengine's Runner), sliding-window inference and evaluation, written once against the method interface."""
