"""Labels that are evaluated, made from annotations as their owners distribute them."""
